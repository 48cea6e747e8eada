"""Plans of methods to come, declared in full and not run.

They prove that the phases can say what every later method needs. A declared callable raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Never

from motet.harmonizer import SiteModel
from motet.phases import Step
from motet.releases import Arrays, ArraySpec
from motet.schema import Schema
from motet.site import Site


def declared() -> Never:
    """Raise: the plan is there to be read."""
    raise AssertionError("declared, not run")


@dataclass(frozen=True)
class Networks:
    """Networks at paper size: parameters of each group, of one head where batches own heads."""

    parameters: Mapping[str, int]

    def build(self, sizes: Mapping[str, int]) -> Any:
        """Public sizes to networks, equal at every site."""
        declared()


def count(of: str) -> ArraySpec:
    """How many slices, volumes or people stand behind the sums."""
    return ArraySpec(name=of, shape=(), dtype="int64", least=0, meaning=f"number of {of}")


def summed(name: str, of: str, meaning: str) -> tuple[ArraySpec, ArraySpec]:
    """A sum of something that is not negative, and its count."""
    return ArraySpec(name=name, shape=(), least=0, meaning=meaning), count(of)


class Declared:
    """The parts of a harmonizer that a declaration does not have."""

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Nothing leaves an unseen site."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        declared()

    def apply(
        self, params: Any, data: Any, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[Any]:
        declared()

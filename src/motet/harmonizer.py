"""The specification that every method fulfils; the registry checks it when a method registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from motet.phases import Step
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site


class Params(BaseModel):
    """Base of a method's parameters: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What ``motet methods`` prints about a method."""

    title: str
    summary: str
    data: Literal["table", "images"]
    papers: tuple[str, ...]
    leaves: str
    limits: tuple[str, ...] = ()


class Harmonizer(Protocol):
    """A harmonization method.

    Three entry points: :meth:`plan` (fit), :meth:`join` (an unseen site, shared model frozen)
    and :meth:`apply`.
    """

    name: ClassVar[str]
    card: ClassVar[Card]
    Params: ClassVar[type[Params]]

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """The steps of a fit, after the platform's agreement on `schema`."""
        ...

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """The steps of an unseen site, shared model frozen; ``()`` means nothing leaves."""
        ...

    def site_model(self, params: Any, site: Site, shared: Arrays) -> Arrays:
        """The arrays that this site alone needs to harmonize; they stay at the site.

        It must work with an empty ``site.keep`` too: that is an unseen site or batch.
        """
        ...

    def apply(
        self, params: Any, data: Any, model: Arrays, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Harmonize `data`, chunk by chunk: yields (feature columns, values (n, columns))."""
        ...

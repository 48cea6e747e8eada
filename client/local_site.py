"""The hospital as a method sees it (:class:`motet.site.Site`), over one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.schema import Schema
from motet.site import draw


def silent(sentence: str) -> None:
    """Say nothing."""


@dataclass(kw_only=True)
class LocalSite:
    """A site with its data at hand.

    ``data`` holds the people of the fit; ``batches`` are theirs. In an evaluation it holds
    everybody, ``fitted`` says who was in the fit, and ``versions`` holds the same people's values.
    """

    name: str
    schema: Schema
    data: Table
    seed: int = 0
    keep: MutableMapping[str, NDArray[Any]] = field(default_factory=dict)
    say: Callable[[str], None] = silent
    versions: Mapping[str, Table] = field(default_factory=dict)
    fitted: NDArray[np.bool_] | None = None
    scratch: MutableMapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    folder: Path | None = None

    @property
    def fit(self) -> NDArray[np.bool_]:
        """Which rows of ``data`` the fit has seen."""
        return np.ones(len(self.data), dtype=bool) if self.fitted is None else self.fitted

    @property
    def batches(self) -> tuple[str, ...]:
        """Batches that the people of ``data`` belong to, sorted."""
        return self.data.batches

    @property
    def travelers(self) -> Mapping[str, str]:
        """Public key of a traveler -> ``participant_id`` here."""
        return self.data.travelers

    def rng(self, purpose: str, person: str, step: int = 0) -> np.random.Generator:
        """Generator of (seed, purpose, person, step)."""
        return draw(self.seed, purpose, person, step)

    def warn(self, sentence: str) -> None:
        """Say something in the site's own log."""
        self.say(sentence)

    def over(self, data: Table, *, under: str = "") -> LocalSite:
        """The same site with other data of the same people; what it keeps is shared."""
        return replace(self, data=data, keep=KeptUnder(self.keep, under) if under else self.keep)


class KeptUnder(MutableMapping[str, NDArray[Any]]):
    """What a site keeps under names that begin with a prefix, seen without it."""

    def __init__(self, keep: MutableMapping[str, NDArray[Any]], prefix: str) -> None:
        self._keep, self._prefix = keep, prefix

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._keep[self._prefix + name]

    def __setitem__(self, name: str, array: NDArray[Any]) -> None:
        self._keep[self._prefix + name] = array

    def __delitem__(self, name: str) -> None:
        del self._keep[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        length = len(self._prefix)
        return (name[length:] for name in self._keep if name.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)

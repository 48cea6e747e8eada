"""What a method sees of its hospital."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from motet.schema import Schema


class Site(Protocol):
    """The hospital as a method sees it, the same simulated and deployed.

    Attributes
    ----------
    name : str
    schema : Schema
        What all sites agreed on.
    data : motet.bids.Table
        The people a phase reads, chunked by the method, float64.
    keep : mutable mapping
        The site's own durable arrays. They never leave.
    versions : mapping of str to motet.bids.Table
        ``raw``, ``local_only``, ``harmonized``: the people of ``data`` with these values. For
        phases that read them; empty in a fit.
    fit : (n,) bool
        Which rows of ``data`` the fit has seen: none at an unseen site.
    seed : int
        The study's, of which all draws are made.
    scratch : mutable mapping
        What can be made again at any time, kept in memory from phase to phase: networks, samples.
    device : str
        Where networks are trained: ``cpu``, ``cuda`` or ``auto``.
    folder : Path, optional
        The site's own, for what is too large for memory and can be made again; nothing in it
        leaves. None where everything is in memory.
    """

    name: str
    schema: Schema
    data: Any
    keep: MutableMapping[str, NDArray[Any]]
    versions: Mapping[str, Any]
    seed: int
    scratch: MutableMapping[str, Any]
    device: str
    folder: Path | None

    @property
    def fit(self) -> NDArray[np.bool_]:
        """Which rows of ``data`` the fit has seen."""
        ...

    @property
    def travelers(self) -> Mapping[str, str]:
        """Public key of a traveler -> ``participant_id`` here."""
        ...

    @property
    def batches(self) -> tuple[str, ...]:
        """Batches of the people in ``data``, sorted."""
        ...

    def rng(self, purpose: str, person: str, step: int = 0) -> np.random.Generator:
        """Return the generator of (seed, purpose, person, step): never of the site."""
        ...

    def warn(self, sentence: str) -> None:
        """Say something in the site's own log and report. It does not leave."""
        ...

    def over(self, data: Any, *, under: str = "") -> Site:
        """The same site with other data of the same people.

        What it keeps is shared; with `under`, under names that begin so.
        """
        ...


def draw(seed: int, purpose: str, person: str, step: int = 0) -> np.random.Generator:
    """Generator that depends on these four alone, so a split of the data changes no draw."""
    key = hashlib.sha256(f"{seed}\x1f{purpose}\x1f{person}\x1f{step}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))

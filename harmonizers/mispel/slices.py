"""What units see: the same slices of a traveler on several scanners, pixel on pixel."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.bids.sessions import file_of
from motet.errors import DataError, StudyFileError, listed, nearest
from motet.harmonizers.mispel.params import MispelParams
from motet.harmonizers.mispel.scanners import ALIKE, ALONE
from motet.images.cache import slices_home
from motet.images.images import Image, Images
from motet.schema import Schema
from motet.site import Site

Float = NDArray[np.float64]
SLICES = 100_000
"""Numbers of slices of one pair of scanners; those of the next pair come after them."""
POOLED = 4
"""Edges of a slice are multiples of this."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The slices of the common grid that units are trained on.

    Attributes
    ----------
    first, after : int
        Axial slices, from the first on.
    rows, columns : int
        Of a slice, zeros beyond the grid included.
    """

    first: int
    after: int
    rows: int
    columns: int

    @classmethod
    def of(cls, params: MispelParams, schema: Schema) -> Shape:
        """From public numbers alone.

        Raises
        ------
        StudyFileError
            When the study asks for slices that the template has not.
        """
        rows, columns, slices = (int(edge) for edge in schema.grid[:3])
        first, last = params.slices or (0, slices - 1)
        if last >= slices:
            raise StudyFileError(
                f"The images have {slices} axial slices, and the study wants those to {last}.",
                do=f"Slices are counted from 0: at most {slices - 1}.",
                key="params.slices",
            )
        return cls(first=first, after=last + 1, rows=_whole(rows), columns=_whole(columns))

    def __len__(self) -> int:
        return self.after - self.first

    def compared(self, stride: int) -> tuple[int, int]:
        """Rows and columns of which every `stride`-th is taken."""
        return -(-self.rows // stride), -(-self.columns // stride)

    def cut(self, volume: NDArray[Any]) -> NDArray[Any]:
        """The slices of a volume (x, y, z), one after another: (slices, rows, columns)."""
        return padded(np.moveaxis(volume[:, :, self.first : self.after], 2, 0))


def _whole(edge: int) -> int:
    return -(-edge // POOLED) * POOLED


def padded(slices: NDArray[Any]) -> NDArray[Any]:
    """Slices (n, x, y) with zeros at the end of both axes, so that they can be halved twice."""
    _, x, y = slices.shape
    return np.pad(slices, ((0, 0), (0, _whole(x) - x), (0, _whole(y) - y)))


def level(image: Image, *, place: Place, person: str) -> float:
    """The mean intensity of the brain, which becomes 1 in what units see.

    Raises
    ------
    DataError
        When it is not above 0.
    """
    found = float(image.brain.mean())
    if not found > 0:
        raise place.error(
            f"The brain's mean intensity is {found:g}; units see intensities in parts of it.",
            do="Give the image without a shift: intensities of a scan are above 0.",
            person=person,
        )
    return found


def seen(image: Image, scale: float) -> Float:
    """The brain in units of its mean, 0 around it, (x, y, z)."""
    return np.asarray(np.where(image.mask, image.data / scale, 0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Slices of travelers on the scanners of one site.

    Attributes
    ----------
    x : (n, K, rows, columns) float32, memory-mapped
        0 where a scanner is not there.
    there : (n, K) bool
    people : (n,) str
        By the key that sites have in common, where there is one.
    parts : (n,) int
    scanners : tuple of str
        K batches of this site, sorted.
    """

    x: NDArray[np.float32]
    there: NDArray[np.bool_]
    people: NDArray[Any]
    parts: NDArray[np.intp]
    scanners: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.people)

    def of(self, person: str) -> NDArray[np.intp]:
        """Rows of a traveler, in the order of slices."""
        return np.flatnonzero(self.people == person)


@dataclass(frozen=True)
class Visits:
    """Where a traveler's scans lie: scanner -> row of the site's images."""

    person: str
    rows: Mapping[str, int]


def scans_of(site: Site, scanners: Sequence[str]) -> dict[str, dict[str, int]]:
    """Person, by the key that sites have in common, -> scanner -> row; the first session counts."""
    images: Images = site.data
    people = {person: key for key, person in site.travelers.items()}
    found: dict[str, dict[str, int]] = {}
    for row, (who, batch) in enumerate(zip(images.people.tolist(), images.batch, strict=True)):
        if batch in scanners:
            found.setdefault(people.get(who, who), {}).setdefault(str(batch), row)
    return found


def travelers(site: Site, params: MispelParams, scanners: Sequence[str]) -> list[Visits]:
    """The travelers of a site with their scans, by key.

    Raises
    ------
    DataError
        When one who is named is not here; or has no scan of a scanner, where all have to have.
    """
    named = params.travelers
    if named and (unknown := [key for key in named if key not in site.travelers]):
        raise DataError(
            f"The traveler {listed(unknown)} is not known here.",
            do="Name the person in travelers.tsv, or take the key out of params.travelers.",
            site=site.name,
            file="travelers.tsv",
        )
    scans = {k: v for k, v in scans_of(site, scanners).items() if not named or k in named}
    for key in named:
        if key not in scans:
            raise DataError(
                f"The traveler '{key}' ({site.travelers[key]}) has no image here.",
                do="Add the image, or take the key out of params.travelers.",
                site=site.name,
                person=site.travelers[key],
            )
    # Where nobody is named those are meant who were scanned on several scanners.
    return [Visits(key, scans[key]) for key in sorted(scans) if named or len(scans[key]) > 1]


def complete(site: Site, found: Sequence[Visits], scanners: Sequence[str]) -> None:
    """Refuse travelers who lack a scan.

    Raises
    ------
    DataError
    """
    if not found:
        raise DataError(f"Nobody here was scanned on several scanners. {ALONE}", site=site.name)
    _refuse_slip(site, found, scanners)
    for visits in found:
        if missing := [name for name in scanners if name not in visits.rows]:
            raise _sessions(site, visits).error(
                f"The traveler '{visits.person}' has no image of scanner {listed(missing)}, but of "
                f"{listed(sorted(visits.rows)) or 'none'}: every traveler has to be scanned on "
                "every scanner.",
                do="Add the image, or name the others in params.travelers, by their keys in "
                "travelers.tsv. At a reference site that has people of two scanners each: params: "
                "{mode: pairs}.",
                person=visits.person,
            )


def _refuse_slip(site: Site, found: Sequence[Visits], scanners: Sequence[str]) -> None:
    """Refuse a name that is no scanner of other sites, and very like one that the person lacks."""
    others = [batch for batch in site.schema.batches if batch.site != site.name]
    known = {word for b in others for word in (b.site, b.name, f"{b.site}-{b.name}")}
    for visits in found:
        lacks = [name for name in scanners if name in known and name not in visits.rows]
        for name in sorted(set(visits.rows) - known):
            if like := nearest(name, lacks, cutoff=ALIKE):
                raise _sessions(site, visits).error(
                    f"A scan of '{visits.person}' is of scanner '{name}', which no other site has.",
                    do=f"{like} Then correct the name in this file.",
                    person=visits.person,
                )


def _sessions(site: Site, visits: Visits) -> Place:
    """Where the scanner of each of a traveler's sessions is written."""
    images: Images = site.data
    person = str(images.people[next(iter(visits.rows.values()))])
    return Place(site=site.name, file=images.root / file_of(person))


def together(
    site: Site, params: MispelParams, scanners: Sequence[str], reference: str = ""
) -> list[tuple[Visits, tuple[str, ...]]]:
    """Travelers with the scanners that are looked at together: all, or pairs with a reference.

    Raises
    ------
    DataError
    """
    found = travelers(site, params, scanners)
    if not reference:
        complete(site, found, scanners)
        return [(visits, tuple(scanners)) for visits in found]
    pairs: list[tuple[Visits, tuple[str, ...]]] = [
        (visits, pair)
        for visits in found
        for pair in combinations(scanners, 2)
        if reference in pair and set(pair) <= set(visits.rows)
    ]
    paired = {name for _, pair in pairs for name in pair}
    if missing := [name for name in scanners if name not in paired]:
        raise DataError(
            f"Nobody here was scanned on {listed(missing)} and on '{reference}'. {ALONE}",
            do="Add somebody's scans of both, or leave the site out.",
            site=site.name,
        )
    return pairs


def stack(
    site: Site,
    chosen: Sequence[tuple[Visits, tuple[str, ...]]],
    shape: Shape,
    scanners: Sequence[str],
) -> Stack:
    """Cut the slices, once a process.

    Raises
    ------
    DataError
        Names a scan on another grid than the traveler's others.
    """
    count, kinds = len(chosen) * len(shape), len(scanners)
    x = _room(site, (count, kinds, shape.rows, shape.columns))
    there, parts = np.zeros((count, kinds), dtype=bool), np.zeros(count, dtype=np.intp)
    people: list[str] = []
    pairs = {pair: k for k, pair in enumerate(sorted({pair for _, pair in chosen}))}
    for at, (visits, used) in enumerate(chosen):
        rows = slice(at * len(shape), (at + 1) * len(shape))
        for name, volume in _volumes(site, visits, used):
            x[rows, scanners.index(name)] = shape.cut(volume)
            there[rows, scanners.index(name)] = True
        parts[rows] = pairs[used] * SLICES + np.arange(shape.first, shape.after)
        people += [visits.person] * len(shape)
    return Stack(x=x, there=there, people=np.array(people), parts=parts, scanners=tuple(scanners))


def _volumes(site: Site, visits: Visits, used: Sequence[str]) -> Iterator[tuple[str, Float]]:
    images: Images = site.data
    first = None
    for name in used:
        row = visits.rows[name]
        image, place = images.image(row), Place(site=site.name, file=images.scan(row).found.file)
        grid = image.volume.grid.canonical
        if first is not None and not grid.same_as(first):
            raise place.error(
                f"This scan of {visits.person} lies on another grid than the one of '{used[0]}'.",
                do="Resample both to the template.",
                person=images.who(row),
            )
        first = first or grid
        scale = level(image, place=place, person=images.who(row))
        yield name, seen(image, scale)


def _room(site: Site, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A file without a name: it is gone with the process, whatever becomes of that."""
    home = Path(slices_home(site))
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=home) as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)

"""Slices of all images of a site as memory-mapped arrays: made once, read in any order.

Trained methods draw slices of many people in random order; reading whole volumes for each would
take most of the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from motet.bids.checks import Place
from motet.bids.folder import complete_folder
from motet.images.images import Image, Images, Scan
from motet.images.scratch import Scratch
from motet.images.slices import PLANES, Plane, Slicing
from motet.site import Site
from motet.store import json_hash, load_array, write_json

MANIFEST = "slices.json"
FOLDER = ".slices"
"""Of a site: what can be made again, and shows people."""
SMALLEST = 0.25
"""The smallest edge of a brain, as a share of the slices'."""

Box = tuple[slice, ...]
Level = Callable[[Image, str], float]
"""``(image, contrast) -> intensity`` that becomes 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceCache:
    """Slices that show some brain, in the order of people, planes and places.

    Attributes
    ----------
    x : (N, contrasts, size, size) float32, memory-mapped, read-only
        Intensities in units of their image's level within the brain; 0 outside.
    brain : (N, size, size) uint8, memory-mapped, read-only
        1 within the brain.
    row, index : (N,) int32
        Row of the site's images that a slice is of, and which slice of the brain's box it is.
    plane : (N,) int32
        Number in :data:`~motet.images.slices.PLANES`.
    level : (rows, contrasts) float64
        The intensity that became 1.
    """

    x: NDArray[np.float32]
    brain: NDArray[np.uint8]
    row: NDArray[np.int32]
    index: NDArray[np.int32]
    plane: NDArray[np.int32]
    level: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)


def slice_cache(
    images: Images,
    folder: Path,
    *,
    planes: Sequence[Plane],
    size: int,
    level: Level,
    named: str,
    least: int = 1,
) -> SliceCache:
    """Open the slices of a site's images; make them first where they are not there.

    Parameters
    ----------
    images : Images
        One contrast, or two of each person.
    folder : Path
        The site's own: slices show people.
    planes : sequence of {"sagittal", "coronal", "axial"}
    size : int
        Pixels along an edge; the brain lies in the middle.
    level : callable
        What intensities are divided by; and `named`, by which it is known.
    least : int
        Pixels of brain that a slice shows at least.

    Returns
    -------
    SliceCache
        After a crash in the middle it is made anew; where images have changed, too.

    Raises
    ------
    DataError
        Names the person whose brain does not fit, or is too small to be seen.
    """
    asked = {
        "planes": list(planes),
        "size": size,
        "named": named,
        "least": least,
        "of": _state(images),
    }
    home = Path(folder) / json_hash(asked)[:16]
    if not (home / MANIFEST).is_file():
        with complete_folder(home, may_replace=lambda old: not (old / MANIFEST).is_file()) as new:
            _make(images, new, planes=planes, size=size, level=level, least=least)
            write_json(new / MANIFEST, asked)

    return SliceCache(
        x=load_array(home / "x.npy", mapped=True),
        brain=load_array(home / "brain.npy", mapped=True),
        row=load_array(home / "row.npy"),
        index=load_array(home / "index.npy"),
        plane=load_array(home / "plane.npy"),
        level=load_array(home / "level.npy"),
    )


def slices_home(site: Site) -> Path:
    """Where a site's slices lie: its own folder, or one that is gone with the site."""
    if site.folder is not None:
        return Path(site.folder) / FOLDER
    if "slices" not in site.scratch:
        site.scratch["slices"] = Scratch("slices")
    home: Path = site.scratch["slices"].path()
    return home


def brain_box(image: Image) -> Box:
    """The box around the brain."""
    found: Box = ndimage.find_objects(image.mask.astype(np.uint8))[0]
    return found


def check_fits(
    image: Image, *, planes: Sequence[Plane], size: int, place: Place, person: str
) -> None:
    """Refuse a brain that slices of `size` pixels cut, or that they hardly show."""
    box = [part.stop - part.start for part in brain_box(image)]
    for plane in planes:
        edges = [n for axis, n in enumerate(box) if axis != PLANES.index(plane)]
        said = " x ".join(map(str, edges))
        one = f"{'An' if plane == 'axial' else 'A'} {plane} slice"
        if max(edges) > size:
            raise place.error(
                f"{one} of this brain has {said} voxels, more than the {size} x {size} "
                "that the networks see.",
                do=f"Set params.pixels to {-(-max(edges) // 16) * 16} or more, a multiple of 16; "
                "or params.spacing, to resample all images to larger voxels.",
                person=person,
            )
        if min(edges) < SMALLEST * size:
            raise place.error(
                f"{one} of this brain has {said} voxels: too small for networks that "
                f"see {size} x {size}.",
                do="Choose other planes (params.planes: [axial]), a smaller preset or "
                "params.pixels, or params.spacing.",
                person=person,
            )


def _make(
    images: Images,
    folder: Path,
    *,
    planes: Sequence[Plane],
    size: int,
    level: Level,
    least: int,
) -> None:
    contrasts = images.contrasts
    places: list[tuple[int, int, int]] = []
    levels = np.zeros((len(images), len(contrasts)))
    for row, pair in enumerate(images.pairs()):
        place = Place(site=images.site, file=images.scan(row).found.file)
        check_fits(pair[0], planes=planes, size=size, place=place, person=images.who(row))
        levels[row] = [level(image, c) for image, c in zip(pair, contrasts, strict=True)]
        for plane, brain in _cut(pair[0].mask[brain_box(pair[0])].astype(np.int32), planes, size):
            shown = brain.sum(axis=(1, 2))
            places += [(row, plane, int(k)) for k in np.flatnonzero(shown >= least)]
    found = np.array(places, dtype=np.int32).reshape(-1, 3)

    def room(name: str, *shape: int, dtype: str) -> np.memmap[Any, Any]:
        made: np.memmap[Any, Any] = np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=(len(found), *shape)
        )
        return made

    x = room("x", len(contrasts), size, size, dtype="<f4")
    brains = room("brain", size, size, dtype="|u1")
    at = 0
    for row, pair in enumerate(images.pairs()):
        box, mask = brain_box(pair[0]), pair[0].mask
        volumes = [
            np.where(mask, image.data / scale, 0.0)[box].astype(np.float32)
            for image, scale in zip(pair, levels[row], strict=True)
        ]
        for plane, chosen in _of_row(found, row):
            seen = [next(_cut(v, (PLANES[plane],), size))[1][chosen] for v in volumes]
            inside = next(_cut(mask[box].astype(np.uint8), (PLANES[plane],), size))[1][chosen]
            x[at : at + len(chosen)] = np.stack(seen, axis=1)
            brains[at : at + len(chosen)] = inside
            at += len(chosen)
    x.flush()
    brains.flush()
    for name, column in (("row", 0), ("plane", 1), ("index", 2)):
        np.save(folder / f"{name}.npy", found[:, column])
    np.save(folder / "level.npy", levels)


def _cut(
    volume: NDArray[Any], planes: Sequence[Plane], size: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Number of every plane, and all of its slices, (n, size, size)."""
    for plane in planes:
        slicing = Slicing(shape=volume.shape, plane=plane, size=size)
        yield PLANES.index(plane), np.stack(list(slicing.slices(volume)))


def _of_row(found: NDArray[np.int32], row: int) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Planes of an image, in order, and which of their slices are kept."""
    own = found[found[:, 0] == row]
    for plane in dict.fromkeys(own[:, 1].tolist()):
        yield plane, own[own[:, 1] == plane, 2]


def _state(images: Images) -> list[list[Any]]:
    """What tells whether the images and masks are those that slices were made of."""
    return [_of(images.scan(row)) for row in range(len(images))]


def _of(scan: Scan) -> list[Any]:
    # What is prepared is a function of the source and of `named`: it lies elsewhere every time.
    files = [scan.found.file, *([scan.mask] if scan.mask else [])]
    files += [scan.second.found.file] if scan.second else []
    seen = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return list(json.loads(json.dumps([seen, scan.prepared is not None])))

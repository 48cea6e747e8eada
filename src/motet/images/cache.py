"""Slices of all images of a site as one memory-mapped array: made once, read in any order.

Trained methods draw slices of many people in random order; reading whole volumes for each would
take most of the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.folder import complete_folder
from motet.images.images import Image, Images, Scan
from motet.images.slices import Plane, Slicing
from motet.store import json_hash, write_json

MANIFEST = "slices.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceCache:
    """Slices of one plane that show some brain.

    Attributes
    ----------
    slices : (N, size, size) float32, memory-mapped, read-only
    row : (N,) int32
        Row of the site's images that a slice is of.
    index : (N,) int32
        Which slice of the volume it is.
    plane : {"sagittal", "coronal", "axial"}
    size : int
    """

    slices: NDArray[np.float32]
    row: NDArray[np.int32]
    index: NDArray[np.int32]
    plane: Plane
    size: int

    def __len__(self) -> int:
        return len(self.row)


def slice_cache(
    images: Images,
    folder: Path,
    *,
    plane: Plane,
    size: int,
    change: Callable[[Image], NDArray[Any]] = lambda image: image.data,
    named: str = "",
    least: int = 1,
) -> SliceCache:
    """Open the slices of a site's images; make them first where they are not there.

    Parameters
    ----------
    images : Images
    folder : Path
        The site's own: slices show people.
    plane : {"sagittal", "coronal", "axial"}
    size : int
        Pixels along an edge; see :class:`~motet.images.slices.Slicing`.
    change : callable
        ``image -> (x, y, z)``: what the method wants to see; and `named`, by which it is known.
    least : int
        Voxels of brain that a slice shows at least.

    Returns
    -------
    SliceCache
        Slices in the order of rows and places. After a crash in the middle it is made anew; where
        images have changed, too.
    """
    asked = {"plane": plane, "size": size, "named": named, "least": least, "of": _state(images)}
    home = Path(folder) / f"{plane}-{json_hash(asked)[:16]}"
    if not (home / MANIFEST).is_file():
        with complete_folder(home, may_replace=lambda old: not (old / MANIFEST).is_file()) as new:
            _make(images, new, plane=plane, size=size, change=change, least=least)
            write_json(new / MANIFEST, asked)
    return SliceCache(
        slices=np.load(home / "slices.npy", mmap_mode="r", allow_pickle=False),
        row=np.load(home / "row.npy", allow_pickle=False),
        index=np.load(home / "index.npy", allow_pickle=False),
        plane=plane,
        size=size,
    )


def _make(
    images: Images,
    folder: Path,
    *,
    plane: Plane,
    size: int,
    change: Callable[[Image], NDArray[Any]],
    least: int,
) -> None:
    places = []
    for row, image in enumerate(images.each()):
        slicing = Slicing(shape=image.data.shape, plane=plane, size=size)
        brain = [int(part.sum()) for part in slicing.slices(image.mask.astype(np.int32))]
        places += [(row, index) for index, voxels in enumerate(brain) if voxels >= least]
    found = np.array(places, dtype=np.int32).reshape(-1, 2)
    kept = np.lib.format.open_memmap(
        folder / "slices.npy", mode="w+", dtype=np.dtype("<f4"), shape=(len(found), size, size)
    )
    at = 0
    for row, image in enumerate(images.each()):
        data = change(image)
        slicing = Slicing(shape=data.shape, plane=plane, size=size)
        for index in found[found[:, 0] == row, 1].tolist():
            kept[at] = slicing.slice(data, index)
            at += 1
    kept.flush()
    np.save(folder / "row.npy", found[:, 0])
    np.save(folder / "index.npy", found[:, 1])


def _state(images: Images) -> list[list[Any]]:
    """What tells whether the images and masks are those that slices were made of."""
    return [_of(images.scan(row)) for row in range(len(images))]


def _of(scan: Scan) -> list[Any]:
    # What is prepared is a function of the source and of `named`: it lies elsewhere every time.
    files = [scan.found.file, *([scan.mask] if scan.mask else [])]
    seen = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return list(json.loads(json.dumps([seen, scan.prepared is not None])))

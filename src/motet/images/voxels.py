"""The same voxels of all people as a table: rows people, columns voxels of a common grid."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table, as_slice
from motet.images.images import Image, Images, Scan, read_image
from motet.room import room

Float = NDArray[np.float64]
Change = Callable[[Image], Image]


def unchanged(image: Image) -> Image:
    """The image as it is."""
    return image


class VoxelNames(Sequence[str]):
    """Names of voxels, made when they are asked for: there are millions."""

    def __init__(self, voxels: NDArray[np.intp], shape: tuple[int, ...]) -> None:
        self._voxels, self._shape = voxels, shape

    def __len__(self) -> int:
        return len(self._voxels)

    @overload
    def __getitem__(self, j: int) -> str: ...
    @overload
    def __getitem__(self, j: slice) -> Sequence[str]: ...
    def __getitem__(self, j: int | slice) -> str | Sequence[str]:
        if isinstance(j, slice):
            return VoxelNames(self._voxels[j], self._shape)
        place = np.unravel_index(int(self._voxels[j]), self._shape)
        return f"voxel ({', '.join(str(int(i)) for i in place)})"


class Matrix:
    """Intensities of chosen voxels of all scans, read once; memory-mapped where they are many.

    Parameters
    ----------
    scans : tuple of Scan
    voxels : (p,) int
        Places in the flattened grid (x, y, z), canonical axes.
    site : str
    change : callable
        What is done to every image first.
    """

    def __init__(
        self,
        scans: tuple[Scan, ...],
        voxels: NDArray[np.intp],
        *,
        site: str,
        change: Change = unchanged,
    ) -> None:
        self._scans, self._voxels, self._site, self._change = scans, voxels, site, change
        self._values: NDArray[Any] | None = None
        self._lock = threading.Lock()

    def row(self, scan: int) -> Float:
        """The voxels of one scan, (p,) float64, as :attr:`values` has them."""
        if self._values is not None:
            return np.asarray(self._values[scan], dtype=np.float64)
        return self._read(scan).astype(np.float64, copy=False)

    @property
    def values(self) -> NDArray[Any]:
        """All scans, (n, p): float32 where the images hold no more than that, else float64."""
        with self._lock:
            if self._values is None:
                first = self._read(0)
                made = room((len(self._scans), len(self._voxels)), first.dtype)
                made[0] = first
                for scan in range(1, len(self._scans)):
                    row = self._read(scan)
                    if row.dtype != made.dtype and made.dtype == np.float32:
                        wider = room(made.shape, np.dtype(np.float64))
                        wider[:scan] = made[:scan]
                        made = wider
                    made[scan] = row
                self._values = made
        return self._values

    def _read(self, scan: int) -> NDArray[Any]:
        one = self._scans[scan]
        image = self._change(read_image(one, site=self._site, person=one.found.person))
        return image.data.ravel()[self._voxels]


@dataclass(frozen=True, kw_only=True, eq=False)
class Voxels(Table):
    """A table whose features are voxels. Blocks are float64, whatever the images hold."""

    matrix: Matrix

    def block(self, columns: slice | Sequence[int] | NDArray[np.intp]) -> Float:
        """Voxels of all people, (n, c) float64."""
        part = self.matrix.values[:, columns]
        return np.asarray(part[as_slice(self._index)], dtype=np.float64)

    def rows_block(self, rows: slice) -> Float:
        """All voxels of some people, (r, p) float64; read from the images where nobody has yet."""
        return np.stack([self.matrix.row(int(i)) for i in self._index[rows]])

    @property
    def _index(self) -> NDArray[np.intp]:
        return np.arange(len(self)) if self.rows is None else self.rows


def voxels_of(
    images: Images, voxels: NDArray[Any], *, change: Change = unchanged, named: str = ""
) -> Voxels:
    """The chosen voxels of a site's images as a table; read once for all phases.

    Parameters
    ----------
    images : Images
        On one grid.
    voxels : (p,) int
        Places in the flattened grid.
    change : callable
        What is done to every image first, and `named`, by which it is known again.
    """
    index = np.asarray(voxels, dtype=np.intp)
    key = (named, hashlib.sha256(index.tobytes()).hexdigest())
    if key not in images.read:
        images.read[key] = Matrix(images.scans, index, site=images.site, change=change)
    shape = tuple(int(n) for n in images.described.grid[:3])
    names: Any = VoxelNames(index, shape)
    return Voxels(
        **{name: getattr(images, name) for name in _SHARED},
        values=np.empty((len(images.scans), 0)),
        features=names,
        units=(),
        matrix=images.read[key],
        form="memory",
        described=replace(images.described, features=names, units=()),
    )


_SHARED = (
    "site",
    "people",
    "sessions",
    "covariates",
    "batch",
    "rows",
    "source",
    "participants",
    "travelers",
    "consented",
)

"""Slices of a volume in three planes, of one size, and the way back without a changed voxel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Plane = Literal["sagittal", "coronal", "axial"]
PLANES: tuple[Plane, ...] = get_args(Plane)
"""By the canonical axis that a slice is cut across: x, y, z."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """How one axis of `length` voxels lies in `size` pixels: cut at both ends, or padded.

    The middle, (length - 1) // 2, becomes the middle of the pixels, (size - 1) // 2.
    """

    length: int
    size: int

    @property
    def _offset(self) -> int:
        return (self.size - 1) // 2 - (self.length - 1) // 2

    @property
    def inside(self) -> slice:
        """The voxels that have a pixel."""
        return slice(max(0, -self._offset), min(self.length, self.size - self._offset))

    @property
    def placed(self) -> slice:
        """The pixels that have a voxel."""
        return slice(max(0, self._offset), min(self.size, self.length + self._offset))


@dataclass(frozen=True, kw_only=True)
class Slicing:
    """Slices of one plane as square images of one size.

    Parameters
    ----------
    shape : (3,) tuple of int
        Of the volumes, canonical axes.
    plane : {"sagittal", "coronal", "axial"}
    size : int
        Pixels along an edge. Slices that are larger are cut around their middle, smaller ones
        padded.
    """

    shape: tuple[int, ...]
    plane: Plane
    size: int

    def __len__(self) -> int:
        return self.shape[self._axis]

    @property
    def _axis(self) -> int:
        return PLANES.index(self.plane)

    @property
    def _windows(self) -> tuple[Window, Window]:
        rows, columns = (n for axis, n in enumerate(self.shape) if axis != self._axis)
        return Window(length=rows, size=self.size), Window(length=columns, size=self.size)

    def slice(self, volume: NDArray[Any], index: int, *, outside: float = 0.0) -> NDArray[Any]:
        """One slice, (size, size), with `outside` where the volume has no voxel."""
        rows, columns = self._windows
        pixels = np.full((self.size, self.size), outside, dtype=volume.dtype)
        across = np.moveaxis(volume, self._axis, 0)
        pixels[rows.placed, columns.placed] = across[index, rows.inside, columns.inside]
        return pixels

    def slices(self, volume: NDArray[Any], *, outside: float = 0.0) -> Iterator[NDArray[Any]]:
        """All slices, in order."""
        for index in range(len(self)):
            yield self.slice(volume, index, outside=outside)

    def put(self, volume: NDArray[Any], index: int, pixels: NDArray[Any]) -> None:
        """Write a slice into a volume, in place; voxels that were cut off stay as they are."""
        rows, columns = self._windows
        across = np.moveaxis(volume, self._axis, 0)
        across[index, rows.inside, columns.inside] = pixels[rows.placed, columns.placed]

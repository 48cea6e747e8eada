"""One 3-D image: read with checks, held in canonical orientation, written back in its own."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.store import atomic

T = TypeVar("T")
FAST = 1
"""Level of compression: floating intensities hardly get smaller with more, which takes longer."""
UNREADABLE = (EOFError, ImageFileError, HeaderDataError, OSError, ValueError, zlib.error)
"""What nibabel raises for files that are cut off, or are no images."""


@lru_cache(maxsize=256)
def _orientation(affine: bytes) -> NDArray[Any]:
    """Nibabel's orientation of an affine; many images have one, and each is read many times."""
    found = np.asarray(nib.io_orientation(np.frombuffer(affine).reshape(4, 4)))
    found.setflags(write=False)
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Where the voxels of an image lie, as its file has them.

    Attributes
    ----------
    shape : (3,) tuple of int
    affine : (4, 4) float64
        Voxel to world coordinates, mm, RAS+.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64]

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        corner = ", ".join(f"{place:g}" for place in self.affine[:3, 3])
        edges = " x ".join(f"{edge:g}" for edge in self.spacing)
        return f"{size} voxels of {edges} mm, the first at ({corner})"

    @property
    def orientation(self) -> NDArray[np.float64]:
        """Axis and flip of each axis of the file, nibabel's (3, 2)."""
        return _orientation(np.ascontiguousarray(self.affine, dtype=np.float64).tobytes())

    @property
    def canonical(self) -> Grid:
        """The same voxels with axes to the right, to the front and up (RAS+)."""
        turn = nib.orientations.inv_ornt_aff(self.orientation, self.shape)
        axes = self.orientation[:, 0].astype(int)
        shape = tuple(self.shape[int(np.flatnonzero(axes == k)[0])] for k in range(3))
        return Grid(shape=shape, affine=self.affine @ turn)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Edges of a voxel, mm."""
        return tuple(float(edge) for edge in nib.affines.voxel_sizes(self.affine))

    def to_canonical(self, data: NDArray[Any]) -> NDArray[Any]:
        """Turn an array of the file's axes into canonical ones. Only axes move; no value does."""
        return np.asarray(nib.apply_orientation(data, self.orientation))

    def to_native(self, data: NDArray[Any]) -> NDArray[Any]:
        """The inverse of :meth:`to_canonical`."""
        canonical = np.array([[0, 1], [1, 1], [2, 1]])
        back = nib.orientations.ornt_transform(canonical, self.orientation)
        return np.asarray(nib.apply_orientation(data, back))

    def same_as(self, other: Grid) -> bool:
        """Whether voxels lie at the same places, to a thousandth of a voxel."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*([0, n - 1] for n in self.shape))).reshape(3, -1)
        apart = nib.affines.apply_affine(self.affine, corners.T) - nib.affines.apply_affine(
            other.affine, corners.T
        )
        return bool(np.linalg.norm(apart, axis=1).max() <= 1e-3 * min(self.spacing))


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """An image in canonical orientation, with what is needed to write it back.

    Attributes
    ----------
    data : (x, y, z) float32 or float64
        Intensities, canonical axes; finite.
    grid : Grid
        That of the file.
    header : Nifti1Header
        That of the file.
    file : Path
    """

    data: NDArray[Any]
    grid: Grid
    header: Any
    file: Path


def read_grid(file: Path, *, place: Place) -> Grid:
    """Where the voxels of an image lie; the intensities are not read.

    Raises
    ------
    DataError
        When the file is no image, or not one of three dimensions.
    """
    return _grid(_opened(file, place), place)


def read_volume(file: Path, *, place: Place) -> Volume:
    """Read an image.

    Parameters
    ----------
    file : Path
        NIfTI, compressed or not.
    place : Place
        For errors.

    Returns
    -------
    Volume
        float64 where the file's values are float64 or wide integers, else float32, which holds
        every integer of 16 bits exactly.

    Raises
    ------
    DataError
        When the file is cut off, is no image of three dimensions, or holds NaN, infinite or only
        equal intensities.
    """
    image = _opened(file, place)
    grid = _grid(image, place)
    if image.get_data_dtype().kind not in "iuf":
        raise place.error(
            f"Its voxels are no plain numbers ({image.get_data_dtype()}).",
            do="Save one real intensity a voxel.",
        )
    dtype = np.result_type(image.get_data_dtype(), np.float32)
    data = _readable(lambda: np.asarray(image.dataobj, dtype=dtype), place)
    data = data.reshape(grid.shape)
    if not np.isfinite(data).all():
        raise place.error(
            f"{int((~np.isfinite(data)).sum())} voxels are NaN or infinite.",
            do="Mend the image, or leave this person out.",
        )
    if data.min() == data.max():
        raise place.error("All voxels have one intensity.", do="Leave this image out.")
    return Volume(data=grid.to_canonical(data), grid=grid, header=image.header, file=file)


def read_labels(file: Path, *, like: Grid, place: Place) -> NDArray[np.int32]:
    """Read a mask or label map on the grid of an image, (x, y, z) int32, canonical axes.

    Raises
    ------
    DataError
        When it is on another grid, or its values are no whole numbers.
    """
    image = _opened(file, place)
    grid = _grid(image, place)
    if not grid.canonical.same_as(like.canonical):
        raise place.error(
            f"It is on another grid ({grid}) than its image ({like}).",
            do="Resample it to the image.",
        )
    data = _readable(lambda: np.asarray(image.dataobj), place).reshape(grid.shape)
    labels = np.rint(data).astype(np.int32)
    if not np.array_equal(labels, data):
        raise place.error("A mask or label map holds whole numbers; these are not.")
    return np.asarray(grid.to_canonical(labels))


def write_volume(file: Path, data: NDArray[Any], *, like: Volume) -> None:
    """Write intensities as an image of the axes, affine and header of another.

    Parameters
    ----------
    file : Path
    data : (x, y, z) float, or uint8 of a mask
        Canonical axes.
    like : Volume
        Its header is kept but for the data type, which is floating for intensities, and the
        scaling, of which there is none. Intensities are never cast to integers.
    """
    header = like.header.copy()
    header.set_data_dtype(data.dtype if data.dtype in (np.float64, np.uint8) else np.float32)
    header.set_slope_inter(1.0, 0.0)
    header["cal_min"] = header["cal_max"] = 0.0  # windows of the intensities as they were
    made: Any = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    _write(file, made(like.grid.to_native(data), None, header))


def write_new(file: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write an image that was made here, with the data type of its array and codes of a scanner."""
    image = nib.Nifti1Image(data, affine, dtype=data.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    _write(file, image)


def _write(file: Path, image: Any) -> None:
    content = image.to_bytes()
    if file.suffix == ".gz":
        # Without the time, so that the same image is the same bytes.
        content = gzip.compress(content, compresslevel=FAST, mtime=0)
    with atomic(file, "wb") as stream:
        stream.write(content)


def _opened(file: Path, place: Place) -> SpatialImage:
    if not file.exists():
        raise place.error("The file is missing.")
    image = _readable(lambda: nib.load(file), place)
    if not isinstance(image, nib.Nifti1Image):
        raise place.error("This is not a NIfTI image.", do="Convert it, e.g. with dcm2niix.")
    return image


def _readable(read: Callable[[], T], place: Place) -> T:
    try:
        return read()
    except UNREADABLE as error:
        raise place.error(
            "The image cannot be read: it is cut off or damaged.",
            do="Copy it again from where it came from.",
        ) from error


def _grid(image: SpatialImage, place: Place) -> Grid:
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise place.error(
            f"The image has {len(shape)} dimensions {shape}; one of three is needed.",
            do="Give one volume a file: a series, or several echoes, cannot be harmonized.",
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise place.error("The header does not say where the voxels lie: its affine is singular.")
    return Grid(shape=shape, affine=affine)

"""Tissues of people: from the MNI template that nilearn ships, label maps, or labelled slabs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from motet.bids.checks import Place
from motet.errors import DataError, MotetError
from motet.images.volume import read_grid, read_labels
from motet.site import draw

TISSUES = ("CSF", "GM", "WM", "deep GM")
"""Label 1 to 4 of a tissue map; 0 is outside of the brain."""

_OF_FREESURFER = {
    1: (4, 5, 14, 15, 24, 30, 43, 44, 62, 72),
    2: (3, 8, 42, 47),
    3: (2, 7, 16, 41, 46, 77, 85, 251, 252, 253, 254, 255),
    4: (10, 11, 12, 13, 17, 18, 26, 28, 49, 50, 51, 52, 53, 54, 58, 60),
}
"""Tissue -> FreeSurfer's numbers (FreeSurferColorLUT): brainstem and chiasm count as WM, vessels as
CSF. Everything else, the head included, is outside."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Anatomy:
    """Where the tissues of a brain are.

    Attributes
    ----------
    fractions : (4, x, y, z) float32
        Share of each tissue in a voxel, 0 to 1; canonical axes. They add up to 1 inside.
    affine : (4, 4) float64
    """

    fractions: NDArray[np.float32]
    affine: NDArray[np.float64]

    @property
    def inside(self) -> NDArray[np.bool_]:
        """The brain, (x, y, z)."""
        return np.asarray(self.fractions.sum(axis=0) >= 0.5)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The tissue that a voxel has most of, 1 to 4; 0 outside; (x, y, z)."""
        largest = self.fractions.argmax(axis=0).astype(np.uint8) + np.uint8(1)
        return np.asarray(np.where(self.inside, largest, np.uint8(0)))


@lru_cache(maxsize=2)
def template(resolution: int) -> Anatomy:
    """The MNI152 template (ICBM 2009a, symmetric) as nilearn ships it, made one person's.

    Its tissue maps are shares over many people, and nowhere purely WM. Here every voxel of 1 mm is
    its most probable tissue; coarser ones are mixtures at boundaries, as in a scan.

    Parameters
    ----------
    resolution : int
        mm.

    Raises
    ------
    MotetError
        When nilearn is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise MotetError(
            "The template's anatomy comes with nilearn, which is not installed.",
            do="pip install 'motet[phantom]', or name label maps with --anatomy.",
        ) from error
    gm, wm, brain = (
        getattr(datasets, f"load_mni152_{name}")(resolution=1)
        for name in ("gm_template", "wm_template", "brain_mask")
    )
    inside = np.asarray(brain.dataobj, dtype=np.float32) > 0.5
    grey, white = (np.asarray(i.dataobj, dtype=np.float32).clip(0.0, 1.0) for i in (gm, wm))
    deep = grey * _around_the_thalamus(brain.affine, grey.shape)
    shares = np.stack([(1.0 - grey - white).clip(0.0), grey - deep, white, deep])
    tissues = np.where(inside, shares.argmax(axis=0) + 1, 0)
    anatomy = cropped(Anatomy(fractions=_shares(tissues), affine=np.asarray(brain.affine)))
    return coarser(anatomy, resolution)


def coarser(anatomy: Anatomy, times: int) -> Anatomy:
    """Voxels `times` as long: each holds the mean shares of those that it covers."""
    shape = tuple(n - n % times for n in anatomy.fractions.shape[1:])
    whole = anatomy.fractions[:, : shape[0], : shape[1], : shape[2]]
    blocks = [part for n in shape for part in (n // times, times)]
    affine = anatomy.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (times - 1) / 2)
    affine[:3, :3] *= times
    return Anatomy(
        fractions=whole.reshape(4, *blocks).mean(axis=(2, 4, 6), dtype=np.float32), affine=affine
    )


def cropped(anatomy: Anatomy, *, margin: int = 4) -> Anatomy:
    """The brain and some voxels around it."""
    places = np.argwhere(anatomy.inside)
    first = np.maximum(places.min(axis=0) - margin, 0)
    last = np.minimum(places.max(axis=0) + margin + 1, anatomy.inside.shape)
    window = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    affine = anatomy.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    return Anatomy(fractions=anatomy.fractions[:, *window], affine=affine)


def _around_the_thalamus(affine: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float32]:
    """1 where the template's GM is deep: an ellipsoid around the thalami and basal ganglia."""
    voxels = np.meshgrid(
        *(np.arange(n, dtype=np.float32) for n in shape), indexing="ij", sparse=True
    )
    centre, radius = (0.0, -6.0, 4.0), (34.0, 26.0, 16.0)
    apart = np.zeros(shape, dtype=np.float32)
    for row, middle, reach in zip(affine[:3], centre, radius, strict=True):
        along = sum((np.float32(row[k]) * voxels[k] for k in range(3)), np.float32(row[3] - middle))
        apart += np.square(along / np.float32(reach))
    return np.asarray(apart < 1.0, dtype=np.float32)


def of_labels(file: Path) -> Anatomy:
    """The anatomy of a label map: FreeSurfer's numbers, or 1 to 4 for the tissues.

    Raises
    ------
    DataError
        When it is no label map, or has no tissue.
    """
    place = Place(file=file)
    grid = read_grid(file, place=place)
    labels = read_labels(file, like=grid, place=place)
    found = set(np.unique(labels).tolist()) - {0}
    tissues = labels
    if not found <= {1, 2, 3, 4}:
        tissues = np.zeros_like(labels)
        for tissue, numbers in _OF_FREESURFER.items():
            tissues[np.isin(labels, numbers)] = tissue
    missing = [TISSUES[t - 1] for t in (1, 2, 3) if not (tissues == t).any()]
    if missing:
        raise place.error(
            f"The label map has no {missing[0]}.",
            do="Give a map of FreeSurfer's numbers, or of 1 CSF, 2 GM, 3 WM, 4 deep GM.",
        )
    return cropped(Anatomy(fractions=_shares(tissues), affine=grid.canonical.affine))


def of_slabs(file: Path) -> list[Anatomy]:
    """The anatomies of an npz file with ``seg``, (people, x, y, z) of 1 to 4, and ``affine``.

    Raises
    ------
    DataError
        When the file holds something else.

    Notes
    -----
    A slab cut from a head that lay askew ends in slices with a corner of the brain: slices of which
    somebody has less than half of the own largest are left out, of everybody.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            maps, affine = stored["seg"], np.asarray(stored["affine"], dtype=np.float64)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            "The file holds no labelled slabs: 'seg' (people, x, y, z) and 'affine'.", file=file
        ) from error
    if maps.ndim != 4 or not maps.size:
        raise DataError(f"'seg' has the shape {maps.shape}; it is (people, x, y, z).", file=file)
    thin = int(np.argmin(maps.shape[1:]))
    rest = tuple(axis for axis in (1, 2, 3) if axis != 1 + thin)
    sizes = (maps > 0).sum(axis=rest)
    whole = np.flatnonzero((sizes >= 0.5 * sizes.max(axis=1, keepdims=True)).all(axis=0))
    if not len(whole):
        raise DataError("No slice holds half of everybody's brain.", file=file)
    kept = slice(int(whole[0]), int(whole[-1]) + 1)
    affine[:3, 3] += affine[:3, thin] * kept.start
    maps = maps.take(np.arange(kept.start, kept.stop), axis=1 + thin)
    return [Anatomy(fractions=_shares(labels), affine=affine) for labels in maps]


def _shares(tissues: NDArray[np.integer]) -> NDArray[np.float32]:
    return np.stack([(tissues == tissue) for tissue in (1, 2, 3, 4)]).astype(np.float32)


def anatomies(path: Path | None, *, resolution: int = 0) -> tuple[list[Anatomy], str]:
    """Anatomies that a user names, and their name for a README.

    Parameters
    ----------
    path : Path or None
        A label map, a folder of label maps, or an npz file of labelled slabs; None: the template.
    resolution : int
        mm; 0: 2 mm of the template, and others as they are.

    Raises
    ------
    DataError
        When there is no label map, maps are of different shape, or finer than is asked.
    """
    if path is None:
        return [template(resolution or 2)], "the MNI152 template"
    if path.suffix == ".npz":
        return [_as_coarse(slab, resolution, path) for slab in of_slabs(path)], path.name
    files = sorted(path.glob("*.nii*")) if path.is_dir() else [path]
    if not files:
        raise DataError("There is no label map (*.nii.gz) in the folder.", file=path)
    return [_as_coarse(of_labels(file), resolution, file) for file in files], path.name


def _as_coarse(anatomy: Anatomy, resolution: int, file: Path) -> Anatomy:
    """Voxels of `resolution` mm, which is a multiple of what they are."""
    if not resolution:
        return anatomy
    edges = np.linalg.norm(anatomy.affine[:3, :3], axis=0)
    times = resolution / edges
    if (np.abs(times - times.round()) > 1e-3).any() or len(set(times.round())) > 1:
        raise DataError(
            f"Voxels of {' x '.join(f'{edge:g}' for edge in edges)} mm do not make cubes of "
            f"{resolution} mm.",
            do="Leave --resolution out, and they stay as they are.",
            file=file,
        )
    return coarser(anatomy, round(float(times[0]))) if times[0] > 1 else anatomy


def person(
    anatomy: Anatomy, *, seed: int, name: str, age: float, bend: float = 4.0, smooth: float = 20.0
) -> Anatomy:
    """Somebody's brain: an anatomy bent smoothly, with more CSF and less GM when older.

    Parameters
    ----------
    anatomy : Anatomy
    seed : int
    name : str
        The draw is a function of (seed, ``anatomy``, person), the same at every site.
    age : float
        Years. Of the GM, 0.25 % a year after 20 become CSF.
    bend : float
        Standard deviation of the displacement, mm.
    smooth : float
        Width (sd) of the displacement field, mm. An image that is thinner than twice as much is a
        slab of a head: nothing is moved across it, as what would come in is not known.
    """
    rng = draw(seed, "anatomy", name)
    shape = anatomy.fractions.shape[1:]
    edges = np.linalg.norm(anatomy.affine[:3, :3], axis=0)
    places = np.indices(shape, dtype=np.float32)
    for axis in np.flatnonzero(np.array(shape) * edges >= 2.0 * smooth):
        field = ndimage.gaussian_filter(
            rng.standard_normal(shape, dtype=np.float32), smooth / edges, mode="nearest"
        )
        places[axis] += field * np.float32(bend / edges[axis] / max(float(field.std()), 1e-9))
    bent = np.stack(
        [ndimage.map_coordinates(share, places, order=1) for share in anatomy.fractions]
    )
    lost = np.float32(0.0025 * max(0.0, age - 20.0))
    bent[0] += lost * bent[1]
    bent[1] *= 1.0 - lost
    return Anatomy(fractions=bent.astype(np.float32), affine=anatomy.affine)

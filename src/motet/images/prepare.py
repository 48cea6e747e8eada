"""What may be done to an image before a method sees it: N4, and resampling. By SimpleITK."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from motet.bids.checks import Place
from motet.errors import MotetError
from motet.images.images import Scan, read_image
from motet.images.params import ImageParams
from motet.images.volume import Grid, Volume, write_new, write_volume

SHRINK = 4
"""N4 estimates the field on every fourth voxel, as its authors do; it is applied to all."""

ITERATIONS = (50, 50, 50, 50)


def said(params: ImageParams) -> dict[str, object]:
    """What a sidecar says of the preparation; empty where there was none."""
    found: dict[str, object] = {}
    if params.n4:
        found["N4"] = {"ShrinkFactor": SHRINK, "Iterations": list(ITERATIONS)}
    if params.spacing:
        found["Resampled"] = {"Spacing": params.spacing, "Interpolation": "linear"}
    return found


def prepared(scan: Scan, params: ImageParams, *, into: Callable[[], Path], site: str) -> Scan:
    """Prepare an image as the study asks; the same scan where it asks for nothing.

    Parameters
    ----------
    scan : Scan
    params : ImageParams
    into : callable
        Gives the folder for the results, which are float32.
    site : str

    Raises
    ------
    MotetError
        SimpleITK is not installed.
    """
    if not (params.n4 or params.spacing):
        return scan
    sitk = _simpleitk()
    name = scan.found.file.name.removesuffix(".gz").removesuffix(".nii")
    image = read_image(scan, site=site, person=scan.found.person)
    volume, mask = image.volume, image.mask
    data = volume.data.astype(np.float32)
    if params.n4:
        data = _n4(sitk, data, mask)
    target, target_mask = into() / f"{name}.nii.gz", into() / f"{name}_mask.nii.gz"
    if params.spacing:
        grid = volume.grid.canonical
        data, affine = _resampled(sitk, data, grid, params.spacing, sitk.sitkLinear)
        inside, _ = _resampled(
            sitk, mask.astype(np.uint8), grid, params.spacing, sitk.sitkNearestNeighbor
        )
        if not inside.any():
            raise Place(site=site, file=scan.found.file).error("The mask is empty once resampled.")
        write_new(target, data, affine)
        write_new(target_mask, inside, affine)
    else:
        write_volume(target, data, like=volume)
        _write_mask(target_mask, mask, volume)
    return replace(scan, prepared=target, prepared_mask=target_mask)


def _write_mask(file: Path, mask: Any, like: Volume) -> None:
    write_new(file, like.grid.to_native(mask.astype(np.uint8)), like.grid.affine)


def _simpleitk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise MotetError(
            "N4 and resampling need SimpleITK, which is not installed.",
            do="pip install 'motet[images]'",
        ) from error
    return SimpleITK


def _n4(sitk: Any, data: Any, mask: Any) -> Any:
    whole = sitk.GetImageFromArray(np.maximum(data, 0.0))
    inside = sitk.GetImageFromArray(mask.astype(np.uint8))
    correct = sitk.N4BiasFieldCorrectionImageFilter()
    correct.SetMaximumNumberOfIterations(list(ITERATIONS))
    correct.SetNumberOfThreads(1)
    # A slab keeps its few slices: of a field, a single one would tell nothing along it.
    small = [SHRINK if n >= 2 * SHRINK else 1 for n in whole.GetSize()]
    correct.Execute(sitk.Shrink(whole, small), sitk.Shrink(inside, small))
    field = sitk.GetArrayFromImage(correct.GetLogBiasFieldAsImage(whole))
    return (data / np.exp(field)).astype(np.float32)


def _resampled(sitk: Any, data: Any, grid: Grid, spacing: float, how: int) -> tuple[Any, Any]:
    """Resample an array of canonical axes about the same corner; returns it and its affine."""
    # SimpleITK has the last axis first.
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose(2, 1, 0)))
    image.SetSpacing([float(edge) for edge in grid.spacing])
    size = [max(1, round(n * e / spacing)) for n, e in zip(grid.shape, grid.spacing, strict=True)]
    # The outer edges of the first voxels stay where they are.
    origin = [(spacing - edge) / 2 for edge in grid.spacing]
    made = sitk.Resample(
        image,
        size,
        sitk.Transform(),
        how,
        origin,
        [spacing] * 3,
        image.GetDirection(),
        0.0,
        image.GetPixelID(),
    )
    scale = np.diag([spacing / edge for edge in grid.spacing] + [1.0])
    scale[:3, 3] = [o / edge for o, edge in zip(origin, grid.spacing, strict=True)]
    return sitk.GetArrayFromImage(made).transpose(2, 1, 0), grid.affine @ scale

"""How near an image is to another of the same person: a truth, or a traveler's other scan.

MS-SSIM is that of torchmetrics (the extra ``deep``), which is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import wasserstein_distance

from motet.images.tissues import order_of, overlap, segment

SIDE = 160
"""MS-SSIM of five scales with a kernel of eleven pixels needs every side longer than this."""

KERNEL = 11
"""Voxels along the Gaussian kernel of SSIM: a volume that is thinner is compared in plane."""

SIGMA = 1.5
"""Standard deviation of that kernel, voxels."""

Volume = NDArray[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """An image beside its truth, within the mask.

    Attributes
    ----------
    ssim : float or None
        3-D (Wang 2004); None for slabs thinner than the kernel.
    ssim_in_plane : float
        Of axial slices.
    ms_ssim : float or None
        Five scales, the axial slices of the brain with what is around it (Wang 2003); None where
        a slice is too small, or torchmetrics is not installed.
    psnr : float
        dB.
    mae : float
        In units of the data range.
    dice : mapping of str to float
        Of CSF, GM and WM by the one segmenter.
    wasserstein : mapping of str to float
        Between the intensities of the truth's tissues, in units of the data range.
    """

    ssim: float | None
    ssim_in_plane: float
    ms_ssim: float | None
    psnr: float
    mae: float
    dice: Mapping[str, float]
    wasserstein: Mapping[str, float]


def fidelity(
    image: Volume, truth: Volume, mask: Mask, *, data_range: float, contrast: str
) -> Fidelity:
    """Compare an image with its truth.

    Parameters
    ----------
    image, truth : (x, y, z) float
        On one grid, in the same units.
    mask : (x, y, z) bool
    data_range : float
        Of the truth's intensities, the same for all images that are compared.
    contrast : str
    """
    box = _box(mask)
    inside = mask[box]
    # What lies outside of the mask is nobody's: 0 in both.
    one, other = (np.where(inside, v[box], 0.0).astype(np.float64) for v in (image, truth))
    error = one[inside] - other[inside]
    mse = float(np.square(error).mean())
    multiscale = able() and large_enough(mask.shape)

    def within(axes: tuple[int, ...]) -> float:
        return float(_ssim(one, other, data_range, axes=axes)[inside].mean())

    return Fidelity(
        ssim=within((0, 1, 2)) if min(inside.shape) > KERNEL else None,
        ssim_in_plane=within((0, 1)),
        ms_ssim=_ms_ssim(
            *(np.where(mask, v, 0.0)[..., box[2]].astype(np.float64) for v in (image, truth)),
            data_range=data_range,
        )
        if multiscale
        else None,
        psnr=10.0 * float(np.log10(data_range**2 / max(mse, 1e-300))),
        mae=float(np.abs(error).mean()) / data_range,
        dice=dice(one[inside], other[inside], contrast=contrast),
        wasserstein=_wasserstein(one[inside], other[inside], data_range, contrast),
    )


def dice(
    one: NDArray[np.float64], other: NDArray[np.float64], *, contrast: str
) -> dict[str, float]:
    """Overlap of the tissues of two images of the same voxels, by the one segmenter."""
    return overlap(segment(one), segment(other), order=order_of(contrast))


def _wasserstein(
    one: NDArray[np.float64], other: NDArray[np.float64], data_range: float, contrast: str
) -> dict[str, float]:
    classes = segment(other)
    return {
        tissue: float(wasserstein_distance(one[classes == k], other[classes == k])) / data_range
        for k, tissue in enumerate(order_of(contrast))
        if (classes == k).any()
    }


def _box(mask: Mask) -> tuple[slice, ...]:
    """The mask with room for the kernel around it."""
    places = np.argwhere(mask)
    reach = KERNEL // 2
    first, last = places.min(axis=0) - reach, places.max(axis=0) + reach + 1
    return tuple(
        slice(max(0, int(a)), min(n, int(b)))
        for a, b, n in zip(first, last, mask.shape, strict=True)
    )


def _slices(volume: Volume) -> Volume:
    """Axial slices as a batch, (z, 1, x, y)."""
    return volume.transpose(2, 0, 1)[:, None]


def _ssim(one: Volume, other: Volume, data_range: float, *, axes: tuple[int, ...]) -> Volume:
    """SSIM about every voxel (Wang 2004, eq. 13), (x, y, z).

    Gaussian weights along `axes`. They are one axis' times another's, which takes 33
    multiplications a voxel where the kernel of 11 x 11 x 11 takes 1,331.
    """

    def mean(values: Volume) -> Volume:
        return np.asarray(
            ndimage.gaussian_filter(values, SIGMA, mode="mirror", radius=KERNEL // 2, axes=axes)
        )

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_one, mean_other = mean(one), mean(other)
    product = mean_one * mean_other
    squares = mean_one**2 + mean_other**2
    covariance = mean(one * other) - product
    variances = mean(one**2) + mean(other**2) - squares
    found: Volume = ((2 * product + c1) * (2 * covariance + c2)) / (
        (squares + c1) * (variances + c2)
    )
    return found


def large_enough(shape: tuple[int, ...]) -> bool:
    """Whether axial slices have room for five scales."""
    return min(shape[:2]) > SIDE


def _ms_ssim(one: Volume, other: Volume, *, data_range: float) -> float:
    import torch
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    found = multiscale_structural_similarity_index_measure(
        torch.from_numpy(np.ascontiguousarray(_slices(one))),
        torch.from_numpy(np.ascontiguousarray(_slices(other))),
        data_range=data_range,
    )
    return float(found)


def able() -> bool:
    """Whether torchmetrics is there, without which MS-SSIM is not computed."""
    return find_spec("torchmetrics") is not None

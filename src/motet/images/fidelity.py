"""How near an image is to another of the same person: a truth, or a traveler's other scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from motet.images.tissues import order_of, overlap, segment

KERNEL = 11
"""Voxels along the Gaussian kernel of SSIM: a volume that is thinner is compared in plane."""

SIGMA = 1.5
"""Standard deviation of that kernel, voxels."""

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales of MS-SSIM (Wang 2003, section 3.2), the finest first."""

SIDE = KERNEL * 2 ** (len(WEIGHTS) - 1)
"""Pixels along a slice that leave room for the kernel at the coarsest scale."""

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
    ms_ssim : float
        Five scales, the axial slices that have brain, with the 0 around it (Wang 2003). One with
        fewer than ``SIDE`` pixels along an edge is put into the middle of so many: what is around
        is 0 in both images, and counts as alike. So it compares images of one size only.
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
    ms_ssim: float
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
    box, has_brain = _box(mask), mask.any(axis=(0, 1))
    inside = mask[box]
    # What lies outside of the mask is nobody's: 0 in both.
    one, other = (np.where(inside, v[box], 0.0).astype(np.float64) for v in (image, truth))
    error = one[inside] - other[inside]
    mse = float(np.square(error).mean())

    def within(axes: tuple[int, ...]) -> float:
        return float(_ssim(one, other, data_range, axes=axes)[0][inside].mean())

    return Fidelity(
        ssim=within((0, 1, 2)) if min(inside.shape) > KERNEL else None,
        ssim_in_plane=within((0, 1)),
        ms_ssim=_ms_ssim(
            np.where(mask, image, 0.0)[..., has_brain],
            np.where(mask, truth, 0.0)[..., has_brain],
            mask[..., has_brain],
            data_range=data_range,
        ),
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
    from scipy.stats import wasserstein_distance  # a second of imports

    classes = segment(other)
    return {
        tissue: float(wasserstein_distance(one[classes == k], other[classes == k])) / data_range
        for k, tissue in enumerate(order_of(contrast))
        if (classes == k).any()
    }


def _box(mask: Mask, *, reach: int = KERNEL // 2) -> tuple[slice, ...]:
    """The mask with room around it: as much as the kernel sees."""
    places = np.argwhere(mask)
    first, last = places.min(axis=0) - reach, places.max(axis=0) + reach + 1
    return tuple(
        slice(max(0, int(a)), min(n, int(b)))
        for a, b, n in zip(first, last, mask.shape, strict=True)
    )


def _ssim(
    one: Volume, other: Volume, data_range: float, *, axes: tuple[int, ...]
) -> tuple[Volume, Volume]:
    """SSIM about every voxel (Wang 2004, eq. 13), and its part of contrast and structure.

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
    structure: Volume = (2 * covariance + c2) / (variances + c2)
    return found, structure


def _ms_ssim(one: Volume, other: Volume, mask: Mask, *, data_range: float) -> float:
    """Mean over slices of MS-SSIM (Wang 2003, eq. 7); contrast and structure below 0 are 0."""
    one, other, inside = _with_room(one), _with_room(other), _with_room(mask).max(axis=2)
    found = np.ones(one.shape[2])
    for scale, weight in enumerate(WEIGHTS[:-1]):
        if scale:
            one, other, inside = _half(one), _half(other), _half(inside)
        # Beyond the kernel's reach of the brain both are 0, and alike: that is not computed. The
        # kernel's reach at the edge of the slice, or of what is computed, does not count.
        near = _box(inside > 0, reach=KERNEL - 1)
        structure = _ssim(one[near], other[near], data_range, axes=(0, 1))[1]
        counts = slice(KERNEL // 2, -(KERNEL // 2))
        apart = (1.0 - structure[counts, counts]).sum(axis=(0, 1))
        size = np.prod([n - (KERNEL - 1) for n in inside.shape])
        found *= np.maximum(1.0 - apart / size, 0.0) ** weight
    # At the coarsest scale the edge counts, too: of the smallest slice one pixel would be left.
    whole = _ssim(_half(one), _half(other), data_range, axes=(0, 1))[0]
    found *= np.maximum(whole.mean(axis=(0, 1)), 0.0) ** WEIGHTS[-1]
    return float(found.mean())


def _with_room(slices: Volume) -> Volume:
    """Axial slices in the middle of as many zeros as ``SIDE`` takes, (x, y, z)."""
    missing = [max(0, SIDE - n) for n in slices.shape[:2]]
    room = [(n // 2, n - n // 2) for n in missing]
    return np.pad(slices.astype(np.float64), [*room, (0, 0)])


def _half(slices: Volume) -> Volume:
    """Means of two by two pixels, (x, y, …); the last of an odd number goes."""
    x, y = (n // 2 * 2 for n in slices.shape[:2])
    columns = slices[0:x:2, :y] + slices[1:x:2, :y]
    return np.asarray((columns[:, 0::2] + columns[:, 1::2]) / 4)

"""How near an image is to another of the same person: a truth, or a traveler's other scan.

Metrics are those of torchmetrics (the extra ``deep``), which is imported when one is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from motet.errors import MotetError
from motet.images.tissues import order_of, segment

SIDE = 160
"""MS-SSIM of five scales with a kernel of eleven pixels needs every side longer than this."""

KERNEL = 11
"""Voxels along the Gaussian kernel of SSIM: a volume that is thinner is compared in plane."""

AT_ONCE = 24
"""Slices of a volume that are compared at a time."""

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
        Five scales, axial slices (Wang 2003); None where a slice is too small.
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

    Raises
    ------
    MotetError
        torchmetrics is not installed.
    """
    box = _box(mask)
    inside = mask[box]
    # What lies outside of the mask is nobody's: equal in both, it takes no part.
    one, other = (np.where(inside, v[box], 0.0).astype(np.float64) for v in (image, truth))
    error = one[inside] - other[inside]
    mse = float(np.square(error).mean())
    return Fidelity(
        ssim=_ssim_3d(one, other, inside, data_range) if min(inside.shape) > KERNEL else None,
        ssim_in_plane=_ssim_2d(one, other, inside, data_range),
        ms_ssim=_ms_ssim(one, other, data_range) if min(inside.shape[:2]) > SIDE else None,
        psnr=10.0 * float(np.log10(data_range**2 / max(mse, 1e-300))),
        mae=float(np.abs(error).mean()) / data_range,
        dice=dice(one[inside], other[inside], contrast=contrast),
        wasserstein=_wasserstein(one[inside], other[inside], data_range, contrast),
    )


def dice(
    one: NDArray[np.float64], other: NDArray[np.float64], *, contrast: str
) -> dict[str, float]:
    """Overlap of the tissues of two images of the same voxels, by the one segmenter."""
    a, b = segment(one), segment(other)
    found = {}
    for k, tissue in enumerate(order_of(contrast)):
        both = int((a == k).sum() + (b == k).sum())
        found[tissue] = 2 * int(((a == k) & (b == k)).sum()) / both if both else 1.0
    return found


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


def _ssim_3d(one: Volume, other: Volume, inside: Mask, data_range: float) -> float:
    """3-D SSIM, some slices at a time: the convolution of a whole volume can take 30 GB."""
    reach, total = KERNEL // 2, 0.0
    for start in range(0, one.shape[0], AT_ONCE):
        stop = min(start + AT_ONCE, one.shape[0])
        near = slice(max(0, start - reach), min(one.shape[0], stop + reach))
        full = _ssim(one[near][None, None], other[near][None, None], data_range)[0, 0]
        own = full[start - near.start : stop - near.start]
        total += float(own[inside[start:stop]].sum(dtype=np.float64))
    return total / int(inside.sum())


def _ssim_2d(one: Volume, other: Volume, inside: Mask, data_range: float) -> float:
    full = _ssim(_slices(one), _slices(other), data_range)[:, 0].transpose(1, 2, 0)
    return float(full[inside].mean(dtype=np.float64))


def _ssim(one: Volume, other: Volume, data_range: float) -> Volume:
    functional, torch = _torchmetrics()
    # On the scale of the data range single precision suffices, and is what is fast.
    a, b = (torch.from_numpy((v / data_range).astype(np.float32)) for v in (one, other))
    _, full = functional.structural_similarity_index_measure(
        a, b, data_range=1.0, return_full_image=True
    )
    return np.asarray(full.numpy())


def _ms_ssim(one: Volume, other: Volume, data_range: float) -> float:
    functional, torch = _torchmetrics()
    found = functional.multiscale_structural_similarity_index_measure(
        torch.from_numpy(np.ascontiguousarray(_slices(one))),
        torch.from_numpy(np.ascontiguousarray(_slices(other))),
        data_range=data_range,
    )
    return float(found)


def _torchmetrics() -> tuple[Any, Any]:
    try:
        import torch
        from torchmetrics.functional import image
    except ImportError as error:
        raise MotetError(
            "Image metrics need torchmetrics, which is not installed.",
            do="pip install 'motet[deep]'",
        ) from error
    return image, torch

"""Means around every voxel that see the brain alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def smoothed(
    values: NDArray[np.floating], inside: NDArray[np.bool_], sd: Sequence[float]
) -> NDArray[np.float64]:
    """Gaussian-weighted means over the voxels of a mask, (x, y, z); 0 beside it.

    Parameters
    ----------
    values : (x, y, z) float
    inside : (x, y, z) bool
    sd : sequence of float
        Standard deviation along every axis, voxels.
    """

    def around(image: NDArray[np.floating]) -> NDArray[np.float64]:
        found = ndimage.gaussian_filter(image, sd, mode="constant", output=np.float64)
        return np.asarray(found)

    total, weight = around(np.where(inside, values, 0.0)), around(inside.astype(np.float64))
    # Within the mask a voxel weighs for itself, so that nothing is divided by 0.
    return np.divide(total, weight, out=np.zeros_like(total), where=inside)

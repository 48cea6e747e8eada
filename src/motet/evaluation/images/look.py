"""What is kept of an image that was looked at: enough to judge it, little enough for hundreds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.images.images import Image
from motet.images.measures import digits
from motet.images.tissues import order_of, overlap, segment

SIDE = 16
"""Pixels along a slice that a probe sees."""

POINTS = 100
"""Quantiles of a distribution, each in the middle of its hundredth: a single voxel is not one."""

SAMPLE = 5_000
"""Voxels of a brain that stand for it where units are compared."""

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """One image of one version.

    Attributes
    ----------
    slices : (3 SIDE^2,) float64
        The middle slices of the brain, downsampled; 0 outside of it.
    distribution : (POINTS,) float64
        Quantiles of the brain.
    spread : float
        Standard deviation of the brain.
    tissues : mapping of str to (POINTS,) float64
        Quantiles of the voxels that were a tissue in the image as measured.
    dice : mapping of str to float
        Overlap of the tissues with those of the image as measured.
    sample : (SAMPLE,) float64
        Voxels of the brain, the same of every version.
    """

    slices: Float
    distribution: Float
    spread: float
    tissues: Mapping[str, Float]
    dice: Mapping[str, float]
    sample: Float


def look(image: Image, data: NDArray[Any], *, contrast: str) -> Look:
    """Look at an image that a version made of `image`.

    Parameters
    ----------
    image : Image
        As measured.
    data : (x, y, z) float
        As the version has it.
    contrast : str
    """
    brain = data[image.mask].astype(np.float64)
    grid = (np.arange(POINTS) + 0.5) / POINTS
    before, after = segment(image.brain), segment(brain)
    order = order_of(contrast)
    return Look(
        slices=digits(_slices(data, image.mask)),
        distribution=digits(np.quantile(brain, grid)),
        spread=float(brain.std()),
        tissues={
            tissue: digits(np.quantile(brain[before == k], grid))
            for k, tissue in enumerate(order)
            if (before == k).any()
        },
        dice=overlap(after, before, order=order),
        sample=sampled(brain),
    )


def sampled(brain: Float) -> Float:
    """Some voxels of a brain, evenly spread over it, (at most SAMPLE,)."""
    # A copy: a view would keep the whole brain in memory.
    return brain[:: max(1, -(-len(brain) // SAMPLE))].copy()


def _slices(data: NDArray[Any], mask: NDArray[np.bool_]) -> Float:
    places = np.argwhere(mask)
    first, last = places.min(axis=0), places.max(axis=0) + 1
    box = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    inside = np.where(mask[box], data[box], 0.0)
    return np.concatenate(
        [_small(np.take(inside, inside.shape[axis] // 2, axis=axis)) for axis in range(3)]
    )


def _small(plane: Float) -> Float:
    """A slice on SIDE x SIDE pixels, each the mean of what it covers."""
    for axis, n in enumerate(plane.shape):
        edges = np.linspace(0, n, SIDE + 1).astype(np.intp)
        starts, ends = edges[:-1], np.maximum(edges[:-1] + 1, edges[1:])
        sums = np.insert(np.cumsum(plane, axis=axis), 0, 0.0, axis=axis)
        width = np.expand_dims(ends - starts, 1 - axis)
        plane = (np.take(sums, ends, axis=axis) - np.take(sums, starts, axis=axis)) / width
    return np.asarray(plane, dtype=np.float64).ravel()

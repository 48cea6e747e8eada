"""Quantile functions of brains on a public grid of probabilities, which sum over people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def probabilities(points: int) -> Float:
    """The grid, (points,) from 0 to 1: the darkest and the brightest voxel are in it."""
    return np.linspace(0.0, 1.0, points)


def quantile_function(brain: Float, points: int) -> Float:
    """Intensities at the grid's probabilities, (points,) float64, rising.

    Parameters
    ----------
    brain : (m,) float64
    points : int
    """
    found: Float = np.quantile(brain, probabilities(points))
    return np.maximum.accumulate(found)


def matched(values: Float, source: Float, target: Float) -> Float:
    """``target(F_source(value))``: intensities brought from one distribution to another.

    Linear between the points of the quantile functions. What lies beyond the source's ends keeps
    its distance from them, at the slope of the whole range.

    Parameters
    ----------
    values : (m,) float64
    source, target : (points,) float64
        Quantile functions.
    """
    # Where the source stands still (many voxels of one intensity), the middle of its jump.
    own, first, count = np.unique(source, return_index=True, return_counts=True)
    to = (target[first] + target[first + count - 1]) / 2
    found = np.interp(values, own, to)
    span = own[-1] - own[0]
    slope = (to[-1] - to[0]) / span if span > 0 else 1.0
    below, above = values < own[0], values > own[-1]
    found[below] = to[0] + slope * (values[below] - own[0])
    found[above] = to[-1] + slope * (values[above] - own[-1])
    return np.asarray(found)

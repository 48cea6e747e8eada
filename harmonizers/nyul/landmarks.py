"""Landmarks of a histogram, and the piecewise-linear map between two sets of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LANDMARKS = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
"""Percentiles."""

RANGE = (1.0, 100.0)
"""Where the first and the last landmark lie on the scale."""

Float = NDArray[np.float64]


def landmarks(brain: Float) -> Float:
    """The percentiles of the brain's intensities, (11,) float64."""
    found: Float = np.percentile(brain, LANDMARKS)
    return found


def scaled(marks: Float) -> Float:
    """Landmarks with the first at 1 and the last at 100; those of a flat histogram all at 1."""
    span = marks[-1] - marks[0]
    if not span > 0:
        return np.full_like(marks, RANGE[0])
    return np.asarray(RANGE[0] + (marks - marks[0]) * ((RANGE[1] - RANGE[0]) / span))


def mapped(brain: Float, scale: Float) -> Float:
    """Intensities brought from their own landmarks to the standard scale, (m,) float64.

    Linear between landmarks; beyond the first and the last as between the two nearest.

    Parameters
    ----------
    brain : (m,) float64
    scale : (11,) float64
        The standard scale.
    """
    marks = landmarks(brain)
    # Equal landmarks (many voxels of one intensity) have one place on the scale: the last.
    different = np.append(np.diff(marks) > 0, True)
    own, to = marks[different], scale[different]
    if len(own) < 2:
        return np.full_like(brain, to[0])
    found = np.interp(brain, own, to)
    for outside, a, b in ((brain < own[0], 0, 1), (brain > own[-1], -2, -1)):
        slope = (to[b] - to[a]) / (own[b] - own[a])
        end = 0 if a == 0 else -1
        found[outside] = to[end] + slope * (brain[outside] - own[end])
    return np.asarray(found)

"""Readings with intervals and bands, from counts and sums."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from motet.evaluation.result import Reading

Z = 1.959963984540054
"""97.5 % of a standard normal distribution lie below."""


def accuracy(confusion: NDArray[np.int64], classes: int) -> Reading:
    """Balanced accuracy of a probe over `classes` batches.

    The mean over the batches read of the share recognized. The band is that of independent guesses
    at 1 / classes, the interval that of independent people, both in the normal approximation.

    Parameters
    ----------
    confusion : (K, K) int
        People of a batch by the batch they are taken for.
    classes : int
        Batches that the probe was trained on.
    """
    n = confusion.sum(axis=1)
    read = n > 0
    if classes < 2 or read.sum() < 2:
        return Reading(value=None, n=int(n.sum()))
    share = np.diag(confusion)[read] / n[read]
    value, chance, batches = float(share.mean()), 1.0 / classes, int(read.sum())
    # One half of a person more each way: a share of 0 or 1 has an interval, too.
    sure = (np.diag(confusion)[read] + 0.5) / (n[read] + 1.0)
    half = Z * math.sqrt((sure * (1 - sure) / n[read]).sum()) / batches
    by_chance = Z * math.sqrt((chance * (1 - chance) / n[read]).sum()) / batches
    return Reading(
        value=value,
        interval=(max(value - half, 0.0), min(value + half, 1.0)),
        band=(max(chance - by_chance, 0.0), min(chance + by_chance, 1.0)),
        n=int(n.sum()),
    )


def explained(
    n: int,
    *,
    ee: float,
    e4: float,
    eet: float,
    eett: float,
    t: float,
    tt: float,
    t3: float,
    t4: float,
) -> Reading:
    """R squared of predictions, ``1 - sum e^2 / sum (t - mean t)^2``.

    The interval is that of a ratio of sums over independent people (delta method), both about the
    mean of the people read: an unseen site can lie far from the mean of the fit.

    Parameters
    ----------
    n : int
        People read.
    ee, e4 : float
        Sums of squares and fourth powers of errors.
    t, tt, t3, t4 : float
        Sums of the target about the mean of the fit, its squares, third and fourth powers.
    eet, eett : float
        Sums of products of squared errors with the target about that mean, and with its square.
    """
    spread = tt - t**2 / max(n, 1)
    if n < 3 or not spread > 1e-12 * tt:
        return Reading(value=None, n=n)
    m = t / n
    about_4 = t4 - 4 * m * t3 + 6 * m**2 * tt - 4 * m**3 * t + n * m**4
    ee_about_2 = eett - 2 * m * eet + m**2 * ee
    ratio = ee / spread
    error = Z * math.sqrt(max(e4 - 2 * ratio * ee_about_2 + ratio**2 * about_4, 0.0)) / spread
    value = 1.0 - ee / spread
    return Reading(value=value, interval=(value - error, min(value + error, 1.0)), n=n)


def mean_absolute_error(n: int, e1: float, ee: float) -> Reading:
    """Mean absolute error and its interval, in the target's units, from sums over n people."""
    if n < 2:
        return Reading(value=None, n=n)
    value = e1 / n
    half = Z * math.sqrt(max(ee - n * value**2, 0.0) / (n - 1) / n)
    return Reading(value=value, interval=(max(value - half, 0.0), value + half), n=n)


def area_under_curve(scores: NDArray[np.int64]) -> Reading:
    """Area under the curve from histograms of scores; the mean over one-versus-rest levels.

    Ties within a bin count half. The interval is that of Hanley and McNeil 1982
    (doi:10.1148/radiology.143.1.7063747); with several levels the mean of theirs, which is wider
    than that of the mean.

    Parameters
    ----------
    scores : (levels, 2, bins) int
        People without and with the level by their score's bin.
    """
    areas, errors = [], []
    n = int(scores[0].sum()) if len(scores) else 0
    for without, with_level in scores:
        a, b = int(without.sum()), int(with_level.sum())
        if not a or not b:
            continue
        below = np.cumsum(without) - without
        area = float((with_level * (below + without / 2)).sum() / a / b)
        one, two = area / (2 - area), 2 * area**2 / (1 + area)
        variance = area * (1 - area) + (b - 1) * (one - area**2) + (a - 1) * (two - area**2)
        areas.append(area)
        errors.append(math.sqrt(max(variance, 0.0) / a / b))
    if not areas:
        return Reading(value=None, n=n)
    value, half = float(np.mean(areas)), Z * float(np.mean(errors))
    return Reading(value=value, interval=(max(value - half, 0.0), min(value + half, 1.0)), n=n)

"""Scores of predictions, for many weightings of the same people at once.

`w`, (B, n), is how often each person counts in each of B resamples.
"""

from __future__ import annotations

import numpy as np

from motet.evaluation.battery.sample import Float, Int


def balanced_accuracy(predicted: Int, truth: Int, w: Float) -> Float:
    """Mean over classes of the share recognized, (B,).

    Classes that `w` gives no weight are left out of the mean.
    """
    classes = np.unique(truth)
    member = (truth[:, None] == classes[None, :]).astype(np.float64)
    total = w @ member
    right = w @ (member * (predicted == truth)[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        recall: Float = np.nanmean(np.where(total > 0, right / total, np.nan), axis=1)
    return recall


def balanced_accuracies(predicted: Int, truths: Int) -> Float:
    """The same for many shuffles of the labels, (B, n) -> (B,)."""
    classes, code = np.unique(truths[0], return_inverse=True)
    size = np.bincount(code)
    lookup = np.searchsorted(classes, truths)
    scores: Float = ((predicted[None, :] == truths) / size[lookup]).sum(axis=1) / len(classes)
    return scores


def r2(predicted: Float, truth: Float, w: Float) -> Float:
    """1 - residual / total sum of squares, the total about the mean of those read, (B,)."""
    mean = w @ truth / w.sum(axis=1)
    total = (w * (truth[None, :] - mean[:, None]) ** 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        score: Float = 1 - (w @ (truth - predicted) ** 2) / total
    return score


def mae(predicted: Float, truth: Float, w: Float) -> Float:
    """Mean absolute error, (B,)."""
    error: Float = w @ np.abs(truth - predicted) / w.sum(axis=1)
    return error


def auc(score: Float, yes: Float, no: Float) -> Float:
    """Share of pairs that the score puts in the right order, ties half, (B,).

    Parameters
    ----------
    score : (n,) float64
    yes, no : (B, n) float64
        How often each person counts among those who have the property, and those who have not.

    Returns
    -------
    (B,) float64
        NaN where either side is empty.
    """
    order = np.argsort(score, kind="stable")
    _, start = np.unique(score[order], return_index=True)
    above = np.add.reduceat(yes[:, order], start, axis=1)
    other = np.add.reduceat(no[:, order], start, axis=1)
    below = np.cumsum(other, axis=1) - other
    with np.errstate(invalid="ignore", divide="ignore"):
        pairs = above.sum(axis=1) * other.sum(axis=1)
        share: Float = (above * (below + other / 2)).sum(axis=1) / pairs
    return share

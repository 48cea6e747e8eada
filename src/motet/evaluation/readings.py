"""Round 4 at a site: how the probes do on people that they have not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.evaluation.declared import BINS, V
from motet.evaluation.probes import probed
from motet.evaluation.rows import Rows, positions, target_values, targets
from motet.releases import Arrays
from motet.site import Site

LOWEST, HIGHEST = -1.0, 2.0
"""Scores of a level lie near 0 without it and near 1 with it; what lies beyond goes to the last
bin."""

FARTHEST = 10.0
"""No prediction is farther from the mean of the fit than so many standard deviations. Of people
unlike those it was made of, a linear probe can predict an age of thousands."""


def send_readings(
    site: Site, shared: Arrays, rows: Rows, *, seed: int, by_batch: bool
) -> dict[str, NDArray[Any]]:
    """Round 4: errors of predictions, histograms of scores, and a confusion matrix of batches."""
    chosen = targets(site.schema)
    F = probed(site, shared, seed=seed)[:, rows.read]
    n = F.shape[1]
    T = target_values(site)[rows.read]
    about = T - shared["target_mean"]
    predicted = F @ shared["ridge"].transpose(0, 2, 1) + shared["ridge_offset"][:, None]
    reach = FARTHEST * shared["target_sd"]
    predicted = np.clip(predicted, shared["target_mean"] - reach, shared["target_mean"] + reach)
    error = T - predicted
    scored = [i for i, target in enumerate(chosen) if target.level]
    scores = np.zeros((V, len(scored), 2, BINS), dtype=np.int64)
    bins = np.floor((predicted[..., scored] - LOWEST) / (HIGHEST - LOWEST) * BINS)
    bins = np.clip(bins, 0, BINS - 1).astype(np.intp)
    for v in range(V):
        for i, j in enumerate(scored):
            np.add.at(scores[v, i], (T[:, j].astype(np.intp), bins[v, :, i]), 1)
    return {
        **({"confusion": _confusion(site, shared, rows, F)} if by_batch else {}),
        "n": np.asarray(n, dtype=np.int64),
        "t": about.sum(axis=0),
        "tt": (about**2).sum(axis=0),
        "t3": (about**3).sum(axis=0),
        "t4": (about**4).sum(axis=0),
        "e1": np.abs(error).sum(axis=1),
        "ee": (error**2).sum(axis=1),
        "e4": (error**4).sum(axis=1),
        "eet": (error**2 * about).sum(axis=1),
        "eett": (error**2 * about**2).sum(axis=1),
        "scores": scores,
    }


def _confusion(site: Site, shared: Arrays, rows: Rows, F: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows by batch and by the batch that the discriminant takes them for, (V, K, K).

    Batches with nobody in the fit are no answer, and their people are not asked.
    """
    classes = shared["classes"].astype(bool)
    found = np.zeros((V, len(classes), len(classes)), dtype=np.int64)
    batch = positions(site)[rows.read]
    asked = classes[batch]
    if not classes.any():
        return found
    answers = np.flatnonzero(classes)
    scores = F @ shared["discriminant"].transpose(0, 2, 1) + shared["discriminant_offset"][:, None]
    for v, score in enumerate(scores):
        taken_for = answers[np.argmax(score[:, answers], axis=1)]
        np.add.at(found[v], (batch[asked], taken_for[asked]), 1)
    return found

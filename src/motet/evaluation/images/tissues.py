"""Whether tissues look the same at every site, and whether they are still the same tissues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from motet.evaluation.battery.draws import middle, resamples, shuffles
from motet.evaluation.battery.sample import Float, Int
from motet.evaluation.images.look import Look
from motet.evaluation.result import Metric, Reading

TISSUES = ("csf", "gm", "wm")
Looks = Mapping[str, Sequence[Look]]
"""Version -> the images that are judged."""


def distance_metrics(
    looks: Looks, batch: Int, person: Int, *, permutations: int, seed: int
) -> list[Metric]:
    """How far batches' tissue intensities lie from everybody's, in sd of the brain.

    The Wasserstein distance between a batch's mean quantile function and the mean of the
    batches', averaged over batches. The band shuffles batches between people.
    """
    codes, batch = np.unique(batch, return_inverse=True)
    if len(codes) < 2:
        return []
    shuffled = batch[shuffles(person, permutations, seed=seed, purpose="tissues band")]
    times = resamples(person, batch, seed=seed, purpose="tissues interval")
    once = np.ones(len(batch))
    metrics = []
    for tissue in TISSUES:
        readings = {}
        for version, seen in looks.items():
            if not all(tissue in one.tissues for one in seen):
                continue
            Q = np.stack([one.tissues[tissue] for one in seen])
            Q = Q / float(np.mean([one.spread for one in seen]) or 1.0)
            readings[version] = Reading(
                value=_distance(Q, batch, once),
                interval=middle(np.array([_distance(Q, batch, w) for w in times])),
                band=middle(np.array([_distance(Q, labels, once) for labels in shuffled])),
                n=len(np.unique(person)),
            )
        if readings:
            metrics.append(
                Metric(
                    name=f"tissue_distance_{tissue}",
                    title=f"Distance between batches' {tissue.upper()} intensities, sd",
                    aim="site_effect",
                    better="lower",
                    band_from="permutation",
                    readings=readings,
                )
            )
    return metrics


def _distance(Q: Float, batch: Int, w: Float) -> float:
    """Mean over batches of the distance to the mean of the batches; rows weigh `w`."""
    member = (batch[None] == np.arange(batch.max() + 1)[:, None]) * w
    size = member.sum(axis=1)
    there = size > 0
    means = (member[there] @ Q) / size[there, None]
    return float(np.abs(means - means.mean(axis=0)).mean())


def kept_tissues(looks: Looks, person: Int, *, seed: int) -> list[Metric]:
    """Dice of the tissues with those of the image as measured, the mean over tissues."""
    times = resamples(person, np.zeros_like(person), seed=seed, purpose="tissues kept")
    readings = {}
    for version, seen in looks.items():
        values = np.array([np.mean([one.dice[t] for t in TISSUES]) for one in seen])
        again = (times @ values) / times.sum(axis=1)
        readings[version] = Reading(
            value=float(values.mean()),
            interval=middle(again) if len(np.unique(person)) > 3 else None,
            n=len(np.unique(person)),
        )
    return [
        Metric(
            name="tissue_dice",
            title="Tissues before and after: Dice, mean of CSF, GM and WM",
            aim="biology",
            better="higher",
            readings=readings,
        )
    ]

"""Whether a probe that is trained anew can still tell where somebody was scanned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from motet.evaluation.battery.draws import middle, resamples, shuffles
from motet.evaluation.battery.probes import Fitted, Prepared
from motet.evaluation.battery.sample import Int, Sample
from motet.evaluation.battery.scores import balanced_accuracies, balanced_accuracy
from motet.evaluation.battery.splits import Splits
from motet.evaluation.result import Metric, Reading

Predictions = Mapping[str, Int]
"""Probe -> (rounds, n) number of the batch, -1 for people who were not read."""


Probe = tuple[str, Fitted]
"""How people call it, and how it predicts."""


def predictions(
    prepared: Sequence[Sequence[Prepared]],
    sample: Sample,
    splits: Splits,
    probes: Mapping[str, Probe],
) -> Predictions:
    """Train every probe on every split of one version."""
    found = {}
    for name, (_, predict) in probes.items():
        rounds = np.full((len(prepared), len(sample)), -1, dtype=np.intp)
        for said, parts in zip(rounds, prepared, strict=True):
            for seen in parts:
                classes = sample.batch[seen.split.train]
                use = np.flatnonzero(splits.probed[classes])
                if len(np.unique(classes[use])) > 1:
                    said[seen.split.test] = predict(seen, use, classes[use])
        rounds[:, ~splits.probed[sample.batch]] = -1
        found[name] = rounds
    return found


def site_metrics(
    read: Mapping[str, Predictions],
    sample: Sample,
    splits: Splits,
    probes: Mapping[str, Probe],
    *,
    permutations: int,
    seed: int,
) -> list[Metric]:
    """Balanced accuracy of each probe for each version, with its interval and band.

    The interval is over people read, drawn anew within each batch. The band shuffles the batches
    of the people read, person by person, while the predictions stay
    (docs/decisions/0010-bands-of-the-battery.md).
    """
    some = next(iter(next(iter(read.values())).values()))
    rows = np.flatnonzero((some >= 0).all(axis=0))
    truth, person = sample.batch[rows], sample.person[rows]
    classes = len(np.unique(truth))
    if classes < 2:
        return []
    shuffled = truth[shuffles(person, permutations, seed=seed, purpose="site band")]
    times = resamples(person, truth, seed=seed, purpose="site interval")
    once = np.ones((1, len(rows)))
    metrics = []
    for name, (title, _) in probes.items():
        readings = {}
        for version, said in read.items():
            rounds = said[name][:, rows]
            readings[version] = Reading(
                value=float(np.mean([balanced_accuracy(r, truth, once)[0] for r in rounds])),
                interval=middle(
                    np.mean([balanced_accuracy(r, truth, times) for r in rounds], axis=0)
                ),
                band=middle(np.mean([balanced_accuracies(r, shuffled) for r in rounds], axis=0)),
                n=len(np.unique(person)),
            )
        metrics.append(
            Metric(
                name=f"site_accuracy_{name}",
                title=f"Site balanced accuracy, {title}",
                aim="site_effect",
                better="chance",
                chance=1 / classes,
                band_from="permutation",
                readings=readings,
            )
        )
    return metrics

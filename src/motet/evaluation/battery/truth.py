"""Distance to values that are known to be true, where a study is made up or has a second scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from motet.evaluation.battery.draws import middle, resamples
from motet.evaluation.battery.sample import Float, Int, Sample
from motet.evaluation.result import Metric, Reading


def truth_metrics(
    values: Mapping[str, Sequence[Float]],
    truth: Float,
    groups: Sequence[Int],
    sample: Sample,
    *,
    seed: int,
) -> list[Metric]:
    """Mean absolute error in standard deviations of the true feature over the people judged.

    Parameters
    ----------
    values : mapping of Version to sequence of (n, p) float64
        One for every group of people.
    truth : (n, p) float64
    groups : sequence of (m,) int
        Rows of the people judged.
    """
    rows = np.concatenate(list(groups))
    sd = np.nanstd(truth[rows], axis=0)
    person = sample.person[rows]
    w = resamples(person, np.zeros(len(rows), dtype=np.intp), seed=seed, purpose="truth interval")
    readings = {}
    for version, parts in values.items():
        error = np.concatenate(
            [
                np.abs(X[some] - truth[some])[:, sd > 0] / sd[sd > 0]
                for X, some in zip(parts, groups, strict=True)
            ]
        )
        seen = np.isfinite(error)
        total, count = np.where(seen, error, 0.0).sum(axis=1), seen.sum(axis=1)
        if count.sum():
            readings[version] = Reading(
                value=float(total.sum() / count.sum()),
                interval=middle((w @ total) / (w @ count)),
                n=len(np.unique(person)),
            )
    metric = Metric(
        name="mae_to_truth",
        title="Mean absolute error to the truth, in sd of the feature",
        aim="truth",
        better="lower",
        readings=readings,
    )
    return [metric] if readings else []

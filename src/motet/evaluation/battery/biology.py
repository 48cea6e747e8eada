"""Whether age, sex or a diagnosis can still be predicted, by ridge and logistic regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.evaluation.battery.draws import middle, resamples, shuffles
from motet.evaluation.battery.probes import Prepared
from motet.evaluation.battery.sample import Float, Int, Sample
from motet.evaluation.battery.scores import auc, mae, r2
from motet.evaluation.battery.splits import Splits
from motet.evaluation.result import Metric, Reading
from motet.schema import Covariate

ALPHAS = np.logspace(-1, 6, 15)
"""Ridge penalties to choose from, by leaving one training person out."""
ENOUGH = 3
"""People of a level who train, at least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A column to be predicted.

    Attributes
    ----------
    covariate : Covariate
    rows : (n,) bool
        Who has a level that enough people have; everybody for a number.
    truth : (n,) array
        Numbers, or numbers of levels.
    levels : tuple of str
    """

    covariate: Covariate
    rows: NDArray[np.bool_]
    truth: NDArray[Any]
    levels: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Targets:
    """What can be predicted, and what cannot and why."""

    found: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def targets(sample: Sample, splits: Splits) -> Targets:
    """The covariates and columns of biology that the people suffice for."""
    chosen = Targets()
    parts = [part for some in splits.rounds for part in some]
    read = np.unique(np.concatenate([part.test for part in parts]))
    for covariate in sample.covariates:
        values = sample.columns[covariate.name]
        if covariate.kind == "continuous":
            enough = min(len(part.train) for part in parts) >= 5 and len(read) >= 5
            if enough and len(np.unique(values[read])) > 1:
                everybody = np.ones(len(sample), dtype=bool)
                chosen.found.append(Target(covariate=covariate, rows=everybody, truth=values))
            else:
                chosen.notes.append(f"'{covariate.name}' is not predicted: too few people.")
            continue
        kept = [
            level
            for level in covariate.levels
            if (values[read] == level).any()
            and min(len(np.unique(sample.person[p.train][values[p.train] == level])) for p in parts)
            >= ENOUGH
        ]
        if left := [level for level in covariate.levels if level not in kept]:
            chosen.notes.append(f"'{covariate.name}': too few people to predict {', '.join(left)}.")
        if len(kept) > 1:
            truth = np.array([kept.index(v) if v in kept else -1 for v in values.tolist()])
            chosen.found.append(
                Target(covariate=covariate, rows=truth >= 0, truth=truth, levels=tuple(kept))
            )
    return chosen


def predict(
    target: Target, prepared: Sequence[Sequence[Prepared]], sample: Sample, shuffled: Int
) -> Float:
    """Predictions of everybody who is read, NaN elsewhere.

    Returns
    -------
    (rounds, 1 + permutations, n) or (rounds, levels, n) float64
        For a number: trained on the numbers, and on each shuffle of them. For levels: the
        probability of each.
    """
    rounds = []
    for parts in prepared:
        depth = len(target.levels) or 1 + len(shuffled)
        said = np.full((depth, len(sample)), np.nan)
        for seen in parts:
            rows = np.flatnonzero(target.rows[seen.split.train])
            train = seen.split.train[rows]
            if target.levels:
                found = _logistic(seen, rows, target.truth[train])
            else:
                all_y = np.vstack([target.truth, target.truth[shuffled]])
                found = _ridge(seen, all_y[:, train])
            said[:, seen.split.test] = found
        rounds.append(said)
    return np.stack(rounds)


def _ridge(seen: Prepared, y: Float) -> Float:
    from sklearn.linear_model import RidgeCV

    ridge = RidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(seen.train, y.T)
    predicted: Float = ridge.predict(seen.test).T
    return predicted


def _logistic(seen: Prepared, rows: Int, y: Int) -> Float:
    from sklearn.linear_model import LogisticRegression

    # Of C times the mean square of a person the log odds have their variance a priori: 1.
    model = LogisticRegression(C=1 / seen.spread, class_weight="balanced", max_iter=1000)
    predicted: Float = model.fit(seen.train[rows], y).predict_proba(seen.test).T
    return predicted


def biology_metrics(
    read: Mapping[str, Float], target: Target, sample: Sample, shuffled: Int, *, seed: int
) -> list[Metric]:
    """R squared and mean absolute error of a number; area under the curve of levels.

    The band of a number trains again on shuffled numbers; that of levels shuffles the people read
    while the predictions stay, which is exact for ranks.
    """
    some = next(iter(read.values()))
    rows = np.flatnonzero(np.isfinite(some[:, 0]).all(axis=0) & target.rows)
    person = sample.person[rows]
    name = target.covariate.name
    n = len(np.unique(person))
    if not target.levels:
        same = np.zeros(len(rows), dtype=np.intp)
        times = resamples(person, same, seed=seed, purpose="biology interval")
        once = np.ones((1, len(rows)))
        permuted = target.truth[shuffled][:, rows]
        metrics = []
        for short, title, score, aim in (
            ("r2", f"{name}: R squared, ridge", r2, "higher"),
            ("mae", f"{name}: mean absolute error, ridge", mae, "lower"),
        ):
            readings = {}
            for version, rounds in read.items():
                null = [
                    np.mean([score(said[1 + b, rows], y, once)[0] for said in rounds])
                    for b, y in enumerate(permuted)
                ]
                truth = target.truth[rows]
                readings[version] = Reading(
                    value=float(np.mean([score(said[0, rows], truth, once)[0] for said in rounds])),
                    interval=middle(
                        np.mean([score(said[0, rows], truth, times) for said in rounds], axis=0)
                    ),
                    band=middle(np.array(null)),
                    n=n,
                )
            metrics.append(_metric(f"{short}_{name}", title, aim, readings))
        return metrics
    truth = target.truth[rows]
    times = resamples(person, truth, seed=seed, purpose="biology interval")
    shuffled_labels = truth[shuffles(person, len(shuffled), seed=seed, purpose="biology band")]
    everybody, once = np.ones((len(shuffled), len(rows))), np.ones((1, len(rows)))
    readings = {
        version: Reading(
            value=float(_auc(rounds[:, :, rows], truth[None, :], once)[0]),
            interval=middle(_auc(rounds[:, :, rows], truth[None, :], times)),
            band=middle(_auc(rounds[:, :, rows], shuffled_labels, everybody)),
            n=n,
        )
        for version, rounds in read.items()
    }
    title = f"{name}: area under the curve, logistic regression"
    return [_metric(f"auc_{name}", title, "higher", readings, chance=0.5)]


def _auc(rounds: Float, truth: NDArray[Any], w: Float) -> Float:
    """Mean over rounds and levels of the area of each level against the others, (B,)."""
    levels = range(rounds.shape[1])
    if len(levels) == 2:
        levels = range(1, 2)
    areas = [
        auc(said[level], w * (truth == level), w * (truth != level))
        for said in rounds
        for level in levels
    ]
    mean: Float = np.mean(areas, axis=0)
    return mean


def _metric(
    name: str,
    title: str,
    better: Any,
    readings: Mapping[str, Reading],
    chance: float | None = None,
) -> Metric:
    return Metric(
        name=name,
        title=title,
        aim="biology",
        better=better,
        chance=chance,
        band_from="permutation",
        readings=readings,
    )

"""Effects of covariates and columns of biology, feature by feature."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from motet.evaluation.basis import basis
from motet.evaluation.battery.batch_effect import Judged
from motet.evaluation.battery.design import members
from motet.evaluation.battery.sample import Float, Sample
from motet.evaluation.features import patterns
from motet.evaluation.result import Metric, Reading


def standardized_effects(X: Float, group: Judged, sample: Sample) -> dict[str, Float]:
    """Effect of every design column given batches and the other columns, on the people of `group`.

    Coefficient over the standard deviation of what the whole model leaves: Cohen's d of a level
    against the first, adjusted; for a number, per standard deviation of it over these people.

    Parameters
    ----------
    X : (n, p) float64
        NaN where missing.

    Returns
    -------
    dict of str to (p,) float64
        NaN where a column adds nothing to the others or people are too few.
    """
    names = [column for c in sample.covariates for column in c.columns]
    W = group.design.W
    scale = np.concatenate(
        [
            [W[:, sample.design_of(c.name)].std()]
            if c.kind == "continuous"
            else np.ones(len(c.columns))
            for c in sample.covariates
        ]
        or [np.zeros(0)]
    )
    Y = X[group.rows]
    effects = np.full((len(names), Y.shape[1]), np.nan)
    for columns, seen in patterns(Y):
        values, some = Y[np.ix_(seen, columns)], W[seen]
        member = members(group.design.batch[seen])
        whole = basis(np.hstack([member, some]))
        df = len(values) - whole.shape[1]
        if df < 2:
            continue
        centred = values - values.mean(axis=0)
        sd = np.sqrt(((centred - whole @ (whole.T @ centred)) ** 2).sum(axis=0) / df)
        for i in range(len(names)):
            others = basis(np.hstack([member, np.delete(some, i, axis=1)]))
            x = some[:, i] - others @ (others.T @ some[:, i])
            if x @ x > 1e-10 * max(float(some[:, i] @ some[:, i]), 1e-300):
                with np.errstate(invalid="ignore", divide="ignore"):
                    effects[i, columns] = scale[i] * (x @ centred) / (x @ x) / sd
    return dict(zip(names, effects, strict=True))


def effect_metrics(
    effects: Mapping[str, Mapping[str, Float]], sample: Sample, *, n: int
) -> list[Metric]:
    """How the effects of each version compare with those in the raw data, over features.

    Parameters
    ----------
    effects : mapping of Version to mapping of design column to (p,) float64
    n : int
        People behind them.
    """
    metrics = []
    for covariate in sample.covariates:
        kept, slope = {}, {}
        for version, found in effects.items():
            x = np.concatenate([effects["raw"][column] for column in covariate.columns])
            y = np.concatenate([found[column] for column in covariate.columns])
            known = np.isfinite(x) & np.isfinite(y)
            if known.sum() < 3 or x[known].std() == 0 or y[known].std() == 0:
                continue
            r = float(np.corrcoef(x[known], y[known])[0, 1])
            slope[version] = Reading(value=r * float(y[known].std() / x[known].std()), n=n)
            if version != "raw":
                kept[version] = Reading(value=r, n=n)
        name = covariate.name
        metrics += [
            Metric(
                name=f"effect_kept_{name}",
                title=f"Effect sizes of '{name}': correlation with the raw ones over features",
                aim="biology",
                better="higher",
                readings=kept,
            ),
            Metric(
                name=f"effect_slope_{name}",
                title=f"Effect sizes of '{name}': slope on the raw ones (1: as large)",
                aim="biology",
                better="raw",
                readings=slope,
            ),
        ]
    return [metric for metric in metrics if metric.readings]

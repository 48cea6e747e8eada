"""Effects of covariates and columns of biology, feature by feature, and whether any is invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from motet.evaluation.battery.batch_effect import BAND, Judged, patterns
from motet.evaluation.battery.design import basis
from motet.evaluation.battery.draws import middle
from motet.evaluation.battery.sample import Bool, Float, Sample
from motet.evaluation.result import Metric, Reading
from motet.schema import Covariate
from motet.site import draw


@dataclass(frozen=True, kw_only=True, eq=False)
class Permuted:
    """A study that was harmonized after one column had been shuffled between people.

    Attributes
    ----------
    column : str
        A covariate of the harmonization.
    shuffled : mapping of str to (n,) array
        Site -> the values that the harmonization was given.
    values : mapping of Version to mapping of str to (n, p) float64
        What it made of the raw values.
    """

    column: str
    shuffled: Mapping[str, NDArray[Any]]
    values: Mapping[str, Mapping[str, Float]]


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
        member = _members(group.design.batch[seen])
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


def _members(batch: NDArray[np.intp]) -> Float:
    member: Float = (batch[:, None] == np.unique(batch)[None, :]).astype(np.float64)
    return member


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


def invented_metrics(
    permuted: Sequence[Permuted],
    raw: Float,
    group: Judged,
    sample: Sample,
    *,
    varies: Bool,
    seed: int,
) -> list[Metric]:
    """Share of features with an effect of a column that was shuffled before harmonizing.

    F test of the shuffled column given batches, covariates and columns of biology. Several shuffles
    of one column are averaged. Features are correlated, so that 5 % of them is a mean and not what
    every shuffle gives: the band is the same share in the raw data under shuffles of the column
    between people.
    """
    metrics = []
    base = basis(np.hstack([_members(group.design.batch), group.design.W]))
    for column in dict.fromkeys(one.column for one in permuted):
        covariate = next(c for c in sample.covariates if c.name == column)
        repeats = [one for one in permuted if one.column == column]
        real = group.design.W[:, sample.design_of(column)]
        p = raw.shape[1]
        few = raw[group.rows][:, np.unique(np.linspace(0, p - 1, min(p, BAND)).astype(int))]
        null = np.array([_share(few, base, real[order]) for order in group.shuffled])
        rng = draw(seed, "invented band", column)
        null = rng.choice(null[np.isfinite(null)], size=(2000, len(repeats))).mean(axis=1)
        readings = {}
        for version in repeats[0].values:
            shares = [
                _share(
                    sample.stack(one.values[version])[:, varies][group.rows],
                    base,
                    _columns(covariate, sample.stack(one.shuffled)[group.rows]),
                )
                for one in repeats
            ]
            readings[version] = Reading(
                value=float(np.mean(shares)),
                band=middle(null),
                n=len(np.unique(group.person)),
            )
        metrics.append(
            Metric(
                name=f"invented_effect_share_{column}",
                title=f"Share of features with p < 0.05 for '{column}' shuffled before harmonizing",
                aim="biology",
                better="chance",
                chance=0.05,
                band_from="permutation",
                readings=readings,
            )
        )
    return metrics


def _columns(covariate: Covariate, values: NDArray[Any]) -> Float:
    if covariate.kind == "continuous":
        numbers: Float = values.astype(np.float64)[:, None]
        return numbers
    levels = np.array(covariate.levels[1:], dtype=object)
    member: Float = (values[:, None] == levels[None, :]).astype(np.float64)
    return member


def _share(Y: Float, base: Float, x: Float) -> float:
    """Share of the columns of Y with p < 0.05 in the F test of x given an orthonormal basis."""
    p_values = np.full(Y.shape[1], np.nan)
    for columns, seen in patterns(Y):
        some = base if seen.all() else basis(base[seen])
        values = Y[np.ix_(seen, columns)]
        added = x[seen] - some @ (some.T @ x[seen])
        U, size, _ = np.linalg.svd(added, full_matrices=False)
        U = U[:, size > 1e-8 * max(float(np.linalg.norm(x)), 1e-300)]
        df1, df2 = U.shape[1], len(values) - some.shape[1] - U.shape[1]
        if df1 < 1 or df2 < 1:
            continue
        centred = values - values.mean(axis=0)
        rest = centred - some @ (some.T @ centred)
        explained = ((U.T @ rest) ** 2).sum(axis=0)
        total = (rest**2).sum(axis=0)
        error = np.maximum(total - explained, 1e-12 * total + np.finfo(float).tiny)
        p_values[columns] = f_distribution.sf(explained / df1 / (error / df2), df1, df2)
    known = np.isfinite(p_values)
    return float(np.mean(p_values[known] < 0.05)) if known.any() else float("nan")

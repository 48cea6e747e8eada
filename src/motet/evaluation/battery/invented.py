"""Whether an effect shows that nobody has: of a covariate shuffled before harmonizing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.evaluation.basis import basis
from motet.evaluation.battery.batch_effect import Judged, some_features
from motet.evaluation.battery.design import members
from motet.evaluation.battery.draws import middle, shuffles
from motet.evaluation.battery.feature_tests import f_test
from motet.evaluation.battery.sample import Bool, Float, Sample
from motet.evaluation.features import patterns
from motet.evaluation.result import Metric, Reading
from motet.harmonizers._linear.design import columns_of
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
    between the people of a batch.
    """
    metrics = []
    base = basis(np.hstack([members(group.design.batch), group.design.W]))
    for column in dict.fromkeys(one.column for one in permuted):
        covariate = next(c for c in sample.covariates if c.name == column)
        repeats = [one for one in permuted if one.column == column]
        real = group.design.W[:, sample.design_of(column)]
        few = some_features(raw[group.rows])
        orders = shuffles(
            group.person,
            len(group.shuffled),
            seed=seed,
            purpose=f"invented band {column}",
            within=group.design.batch,
        )
        null = np.array([_share(few, base, real[order]) for order in orders])
        rng = draw(seed, "invented band", column)
        null = null[np.isfinite(null)]
        if not len(null):
            continue
        null = rng.choice(null, size=(2000, len(repeats))).mean(axis=1)
        readings = {}
        for version in ("raw", *(v for v in repeats[0].values if v != "raw")):
            shares = [
                _share(
                    raw[group.rows]
                    if version == "raw"
                    else sample.stack(one.values[version])[:, varies][group.rows],
                    base,
                    columns_of(covariate, sample.stack(one.shuffled)[group.rows]),
                )
                for one in repeats
            ]
            shares = [share for share in shares if np.isfinite(share)]
            if not shares:
                continue
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


def _share(Y: Float, base: Float, x: Float) -> float:
    """Share of the columns of Y with p < 0.05 in the F test of x given an orthonormal basis."""
    p_values = np.full(Y.shape[1], np.nan)
    for columns, seen in patterns(Y):
        some = base if seen.all() else basis(base[seen])
        values = Y[np.ix_(seen, columns)]
        added = x[seen] - some @ (some.T @ x[seen])
        U, size, _ = np.linalg.svd(added, full_matrices=False)
        U = U[:, size > 1e-8 * max(float(np.linalg.norm(x)), 1e-300)]
        centred = values - values.mean(axis=0)
        rest = centred - some @ (some.T @ centred)
        explained = ((U.T @ rest) ** 2).sum(axis=0)
        total = (rest**2).sum(axis=0)
        error = np.maximum(total - explained, 1e-12 * total + np.finfo(float).tiny)
        df1 = U.shape[1]
        p_values[columns] = f_test(explained, error, df1, len(values) - some.shape[1] - df1)
    known = np.isfinite(p_values)
    return float(np.mean(p_values[known] < 0.05)) if known.any() else float("nan")

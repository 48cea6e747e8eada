"""Site effect and covariate effects before and after, feature by feature.

Linear models per feature: covariates alone, batches and covariates, batches alone. Their residual
sums of squares give the F test of the batches after the covariates, the share of variance that
batches explain (partial eta squared), and what the covariates explain (partial R squared).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc  # that of scipy.stats.f.sf, without a second of imports

from motet.bids.table import Table
from motet.cohort import seen_by_fit
from motet.evaluation.basis import basis
from motet.evaluation.features import chunks, patterns, varying
from motet.harmonizers._linear.design import design_matrix
from motet.plan import Plan

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One table's effects; medians over features.

    Attributes
    ----------
    All are None where there are too few people, batches or features to say.

    share_significant : float or None
        Share of features with p < 0.05 for a difference of batch means after the covariates.
        0.05 is what chance gives.
    batch_eta2 : float or None
        Median partial eta squared of the batches.
    covariates_r2 : float or None
        Median partial R squared of the covariates after the batches.
    """

    share_significant: float | None
    batch_eta2: float | None
    covariates_r2: float | None


@dataclass(frozen=True, kw_only=True)
class SiteEffect:
    """Effects before and after, on the same people."""

    people: str
    n: int
    features: int
    raw: Effect
    harmonized: Effect

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def site_effect(
    tables: Mapping[str, Table], harmonized: Mapping[str, Float], plan: Plan
) -> SiteEffect:
    """Compare raw and harmonized values of the same people.

    On the people whom the fit did not see where the study holds any out: judged on the people it
    was fitted on, ComBat looks better than it is.

    Parameters
    ----------
    tables : mapping of str to Table
    harmonized : mapping of str to ndarray
        Site -> (n, p) values, rows as in the table.
    plan : Plan
    """
    chosen, people = _judged(tables, plan)
    parts = {site: tables[site].where(mask) for site, mask in chosen.items()}
    batch = np.array([f"{site}/{name}" for site, part in parts.items() for name in part.batch])
    W = np.vstack([design_matrix(part, plan.schema) for part in parts.values()])
    raw, after = _Effects(batch, W), _Effects(batch, W)
    for columns in chunks(len(plan.schema.features)):
        Y = np.vstack([part.block(columns) for part in parts.values()])
        Z = np.vstack([harmonized[site][chosen[site], columns] for site in parts])
        varies = varying(Y)
        raw.add(Y[:, varies])
        after.add(Z[:, varies])
    return SiteEffect(
        people=people,
        n=len(batch),
        features=raw.features,
        raw=raw.effect(),
        harmonized=after.effect(),
    )


def _judged(tables: Mapping[str, Table], plan: Plan) -> tuple[dict[str, NDArray[np.bool_]], str]:
    """Whom to judge on: those held out, of batches that somebody in the fit belongs to.

    A batch of which everybody is held out was harmonized with effects of these very people.
    """
    fit = {
        s: seen_by_fit(t, held_out=plan.held_out, seed=plan.seed, params=plan.params)
        for s, t in tables.items()
    }
    if all(mask.all() for mask in fit.values()):
        return fit, "all (fitted on them)"
    chosen = {}
    for site, mask in fit.items():
        batch = tables[site].batch
        chosen[site] = ~mask & np.isin(batch, batch[mask])
    return chosen, "held out"


class _Effects:
    """Effects of one table, gathered over chunks of features.

    Features of the same people share their bases: complete ones, and each pattern of missing
    cells.
    """

    def __init__(self, batch: NDArray[Any], W: Float) -> None:
        self._batch, self._W = batch, W
        self._found: list[tuple[Float, Float, Float]] = []

    @property
    def features(self) -> int:
        return sum(len(p) for p, _, _ in self._found)

    def add(self, Y: Float) -> None:
        """Add features, (n, c), NaN where missing."""
        for columns, rows in patterns(Y):
            values = Y[rows][:, columns]
            self._found.append(_features(values, self._batch[rows], self._W[rows]))

    def effect(self) -> Effect:
        """Share and medians over all features."""
        if not self._found:
            return Effect(share_significant=None, batch_eta2=None, covariates_r2=None)
        p, eta2, r2 = (np.concatenate([part[i] for part in self._found]) for i in range(3))
        known = np.isfinite(p)
        if not known.any():
            return Effect(share_significant=None, batch_eta2=None, covariates_r2=None)
        return Effect(
            share_significant=float(np.mean(p[known] < 0.05)),
            batch_eta2=float(np.median(eta2[known])),
            covariates_r2=float(np.median(r2[known])) if self._W.shape[1] else None,
        )


def _features(Y: Float, batch: NDArray[Any], W: Float) -> tuple[Float, Float, Float]:
    """P value and partial eta squared of the batches, partial R squared of W; (p,) each.

    NaN where the people are too few. Y (n, p) without missing values.
    """
    names = np.unique(batch)
    onehot = (batch[:, None] == names[None, :]).astype(np.float64)
    full, rank = _rss(Y, np.hstack([onehot, W]))
    covariates_only, smaller = _rss(Y, np.hstack([np.ones((len(Y), 1)), W]))
    batches_only, _ = _rss(Y, onehot)
    df1, df2 = rank - smaller, len(Y) - rank
    if df1 < 1 or df2 < 1:
        nothing = np.full(Y.shape[1], np.nan)
        return nothing, nothing, nothing
    # What rounding leaves of a perfect fit must not become an infinite F.
    floor = 1e-12 * Y.var(axis=0) * len(Y) + np.finfo(float).tiny
    full = np.maximum(full, floor)
    between = np.maximum(covariates_only - full, 0.0)
    p = fdtrc(df1, df2, between / df1 / (full / df2))
    kept = np.maximum(batches_only - full, 0.0) / np.maximum(batches_only, floor)
    return p, between / (between + full), kept


def _rss(Y: Float, X: Float) -> tuple[Float, int]:
    """Residual sums of squares (p,) and rank, by an orthogonal basis of X's columns."""
    U = basis(X)
    centred = Y - Y.mean(axis=0)
    return ((centred - U @ (U.T @ centred)) ** 2).sum(axis=0), U.shape[1]

"""Analysis of variance from sums: site effect, covariate effects and their sizes, by feature.

Batches after the columns of covariates and biology by the F test of nested linear models: what
:mod:`site_effect` computes from everybody's rows. Levene's test in the form of Brown and Forsythe
1974 (doi:10.1080/01621459.1974.10482955), on what batches and columns leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

Float = NDArray[np.float64]

FLOOR = 1e-12
"""Smallest share of a feature's variance that is more than rounding."""

RANK_TOLERANCE = 1e-10
"""Smallest eigenvalue of a correlation matrix that is more than rounding."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over the judged, for c features whose people are the same.

    Attributes
    ----------
    n, batches : float
        Rows, and batches that they belong to.
    x, xx, xx_within : (Q,), (Q, Q), (Q, Q)
        Of the design columns, about their centre and within batch.
    y, yy, yy_within : (c,)
        Of the features.
    xy, xy_within : (Q, c)
    """

    n: float
    batches: float
    x: Float
    xx: Float
    xx_within: Float
    y: Float
    yy: Float
    yy_within: Float
    xy: Float
    xy_within: Float


@dataclass(frozen=True, kw_only=True)
class Variance:
    """Of c features; NaN where people are too few, or a feature does not vary.

    Attributes
    ----------
    p, eta2 : (c,)
        Of the batches after the columns; partial eta squared.
    r2 : (c,)
        Partial R squared of the columns after the batches.
    effect : (Q, c)
        Coefficients of the columns beside the batches, over the sd of what the whole model leaves:
        of a level Cohen's d against the first, of a number per sd of it.
    beta : (Q, c)
        The coefficients themselves, 0 where they cannot be told from others.
    """

    p: Float
    eta2: Float
    r2: Float
    effect: Float
    beta: Float


class _Inverse:
    """Pseudo-inverse of a matrix of cross-products of the design columns, with its rank.

    Parameters
    ----------
    products : (q, q)
    size : (q,)
        The columns' squares about their mean; a column with next to nothing of it is flat.

    Attributes
    ----------
    rank : int
    known : (q,) bool
        Whether a column's coefficient can be told from those of the others.
    """

    def __init__(self, products: Float, size: Float) -> None:
        self._half = np.zeros((len(products), 0))
        self.rank, self.known = 0, np.zeros(len(products), dtype=bool)
        if not len(products):
            return
        flat = np.diag(products) <= FLOOR * size
        scale = np.sqrt(np.where(flat, np.inf, np.diag(products)))
        values, vectors = np.linalg.eigh(products / np.outer(scale, scale))
        kept = values > RANK_TOLERANCE
        self.rank = int(kept.sum())
        self.known = ~flat & (np.abs(vectors[:, ~kept]) < 1e-6).all(axis=1)
        self._half = vectors[:, kept] / np.sqrt(values[kept]) / scale[:, None]

    def solve(self, products: Float) -> Float:
        """Coefficients (q, c) of right-hand sides (q, c)."""
        return np.asarray(self._half @ (self._half.T @ products))

    def explained(self, products: Float) -> Float:
        """Sums of squares (c,) that the columns explain."""
        return np.asarray(((self._half.T @ products) ** 2).sum(axis=0))


def variance(m: Moments, *, category: NDArray[np.bool_]) -> Variance:
    """Analyse features whose people are the same.

    Parameters
    ----------
    m : Moments
    category : (Q,) bool
        Which design columns are levels of a category.
    """
    n = max(m.n, 1.0)
    xx = m.xx - np.outer(m.x, m.x) / n
    xy = m.xy - np.outer(m.x, m.y) / n
    yy = m.yy - m.y**2 / n
    size = np.maximum(np.diag(xx), 0.0)
    within, total = (_Inverse(products, size) for products in (m.xx_within, xx))
    # What rounding leaves of a perfect fit must not become an infinite F.
    floor = FLOOR * np.maximum(yy, 0.0) + np.finfo(float).tiny
    full = np.maximum(m.yy_within - within.explained(m.xy_within), floor)
    reduced = yy - total.explained(xy)
    df1, df2 = m.batches + within.rank - (1 + total.rank), n - m.batches - within.rank
    # A centre is right but for rounding; what is left of a constant is of that size.
    varies = yy > FLOOR * m.yy
    if df1 < 1 or df2 < 1:
        p = eta2 = r2 = np.full(len(yy), np.nan)
    else:
        between = np.maximum(reduced - full, 0.0)
        p = np.where(varies, fdtrc(df1, df2, between / df1 / (full / df2)), np.nan)
        eta2 = np.where(varies, between / (between + full), np.nan)
        gained = np.maximum(m.yy_within - full, 0.0)
        r2 = np.where(varies, gained / np.maximum(m.yy_within, floor), np.nan)
    beta = within.solve(m.xy_within)
    effect = np.full(beta.shape, np.nan)
    if df2 >= 2:
        scale = np.where(category, 1.0, np.sqrt(size / n))
        effect = np.where(varies, scale[:, None] * beta / np.sqrt(full / df2), np.nan)
        effect[~within.known] = np.nan
    return Variance(p=p, eta2=eta2, r2=r2, effect=effect, beta=beta)


def brown_forsythe(sums: Mapping[str, Float], *, n: Float, batches: Float) -> Float:
    """P values of equal spread in all batches, (..., p).

    Parameters
    ----------
    sums : mapping
        ``z``, ``zz`` and ``zz_within`` (..., p): of distances from the batch's median, their
        squares, and their squares centred within batch.
    n, batches : (p,)
        Rows, and batches that they belong to.
    """
    total = sums["zz"] - sums["z"] ** 2 / np.maximum(n, 1.0)
    within = np.maximum(sums["zz_within"], FLOOR * np.maximum(total, 0.0))
    between = np.maximum(total - within, 0.0)
    df1, df2 = batches - 1.0, n - batches
    with np.errstate(all="ignore"):
        p = fdtrc(df1, df2, between / df1 / (within / df2))
    possible = (df1 >= 1) & (df2 >= 1) & (within > 0)
    return np.where(possible, p, np.nan)

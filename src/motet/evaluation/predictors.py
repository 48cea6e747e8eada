"""Probes from summed cross-products: a linear discriminant of batches, ridge for biology.

The discriminant's covariance is shrunk towards a multiple of the identity as Ledoit and Wolf 2004
(doi:10.1016/S0047-259X(03)00096-4) have it, whose intensity needs one more sum, of fourth powers.
Ridge takes the penalty of least generalized cross-validation (Golub, Heath, Wahba 1979,
doi:10.1080/00401706.1979.10489751), which needs no person's row either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

PENALTIES = np.logspace(-4, 3, 29)
"""Penalties tried, as shares of the number of people; the features have variance 1."""


def shrunk(products: Float, fourth: float, n: float) -> Float:
    """Ledoit and Wolf's covariance (d, d) from the products of n centred rows.

    Parameters
    ----------
    products : (d, d)
    fourth : float
        Sum of fourth powers of the rows' lengths.
    n : float
    """
    d = max(len(products), 1)
    S = products / n
    mu = np.trace(S) / d
    unit = np.eye(len(products))
    distance = ((S - mu * unit) ** 2).sum() / d
    error = (fourth / n - (S**2).sum()) / n / d
    intensity = 0.0 if distance <= 0 else float(np.clip(error / distance, 0.0, 1.0))
    return np.asarray((1.0 - intensity) * S + intensity * mu * unit)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """What a probe says of T things: ``f @ weights.T + offset``; weights (T, d), offset (T,)."""

    weights: Float
    offset: Float


def discriminant(n: Float, sums: Float, within: Float, fourth: float) -> Linear:
    """Scores of K batches, all as likely; 0 for one with nobody.

    Parameters
    ----------
    n : (K,)
        People of every batch.
    sums : (K, d)
    within : (d, d)
        Products centred within batch.
    fourth : float
        As for :func:`shrunk`.
    """
    means = sums / np.maximum(n, 1.0)[:, None]
    covariance = shrunk(within, fourth, max(float(n.sum()), 1.0))
    if not len(covariance) or not np.trace(covariance) > 0:
        return Linear(weights=np.zeros_like(sums), offset=np.zeros(len(n)))
    weights = means @ np.linalg.pinv(covariance, hermitian=True)
    offset = -0.5 * (weights * means).sum(axis=1)
    return Linear(weights=weights * (n > 0)[:, None], offset=offset * (n > 0))


def ridge(n: float, f: Float, ff: Float, t: Float, tt: Float, tf: Float) -> Linear:
    """Ridge regression of T targets, each with the penalty of its own.

    Parameters
    ----------
    n : float
        People.
    f : (d,), ff : (d, d)
        Sum and products of the features.
    t, tt : (T,), tf : (T, d)
        Sums and squares of the targets, and their products with the features.
    """
    n = max(n, 1.0)
    values, vectors = np.linalg.eigh(ff - np.outer(f, f) / n)
    values = np.maximum(values, 0.0)
    b = (tf - np.outer(t, f) / n) @ vectors
    size = np.maximum(tt - t**2 / n, 0.0)
    penalty = n * PENALTIES[:, None]
    used = (values / (values + penalty)).sum(axis=1)
    # Residual sums of squares (penalties, T), from the eigenvalues alone.
    explained = (b**2)[None] * ((values + 2 * penalty) / (values + penalty) ** 2)[:, None]
    left = np.maximum(size - explained.sum(axis=2), 1e-12 * size)
    free = np.maximum(n - 1.0 - used, 1e-3 * n)
    best = np.argmin(left / free[:, None] ** 2, axis=0)
    weights = (b / (values + penalty[best])) @ vectors.T
    return Linear(weights=weights, offset=t / n - weights @ f / n)

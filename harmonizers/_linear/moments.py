"""Centred moments of batches: everything ComBat needs to know of the people of a site.

Values are centred within their batch before they are squared. Since every batch has an intercept
of its own, the pooled least-squares fit depends on these alone (Frisch and Waugh), and nothing is
lost to a large mean: an uncentred sum of squares loses (mean / sd)^2 digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.errors import DataError

CHUNK = 1024
"""Features handled at a time. A constant, not a setting: it belongs to the result's last bits."""

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Moments of K batches. ``f`` is p, or 1 where all features have the same people.

    Attributes
    ----------
    n : (K, f) float64
        Observed people.
    mean_y : (K, p) float64
        In native units, 0 where nobody is observed.
    mean_w : (K, f, q) float64
    ww : (K, f, q, q) float64
        Centred cross-products of the covariate columns.
    wy : (K, q, p) float64
    yy : (K, p) float64
        Centred sums of squares; exactly 0 where the feature is constant.
    varies : (K, p) bool
        max != min; never decided by a variance, which rounding keeps from being 0.
    """

    n: Float
    mean_y: Float
    mean_w: Float
    ww: Float
    wy: Float
    yy: Float
    varies: NDArray[np.bool_]


def chunks(p: int) -> Iterator[slice]:
    """Slices of at most ``CHUNK`` feature columns."""
    return (slice(start, min(start + CHUNK, p)) for start in range(0, p, CHUNK))


def batch_moments(
    table: Table, W: Float, batches: tuple[str, ...]
) -> tuple[Moments, NDArray[np.bool_]]:
    """Moments of the complete features of each batch, in one pass over the values.

    Parameters
    ----------
    table : Table
        n people, p features.
    W : (n, q) float64
        Their covariate columns.
    batches : tuple of str

    Returns
    -------
    moments : Moments
        With f = 1; zeros for the features that are not complete.
    incomplete : (p,) bool
        Features with a missing cell in any of these batches.

    Raises
    ------
    DataError
        For an infinite value: names the person and the feature.
    """
    K, p, q = len(batches), len(table.features), W.shape[1]
    m = Moments(
        n=np.zeros((K, 1)),
        mean_y=np.zeros((K, p)),
        mean_w=np.zeros((K, 1, q)),
        ww=np.zeros((K, 1, q, q)),
        wy=np.zeros((K, q, p)),
        yy=np.zeros((K, p)),
        varies=np.zeros((K, p), dtype=bool),
    )
    incomplete = np.zeros(p, dtype=bool)
    for k, batch in enumerate(batches):
        members = table.batch == batch
        part, w = table.where(members), W[members]
        m.n[k] = len(w)
        m.mean_w[k, 0] = w.mean(axis=0)
        centred_w = centred_columns(w, m.mean_w[k, 0])
        m.ww[k, 0] = centred_w.T @ centred_w
        # The leading 1 sums the centred values: what rounding left of their mean.
        left = np.ascontiguousarray(np.column_stack([np.ones(len(w)), centred_w]).T)
        buffer = np.empty((len(w), min(CHUNK, p)))
        for columns in chunks(p):
            y = part.block(columns)
            mean = y.sum(axis=0) / len(w)
            missing = ~np.isfinite(mean)
            if missing.any():
                _refuse_infinite(part, y, columns)
                incomplete[columns] |= missing
                mean[missing] = 0.0
            centred = np.subtract(y, mean, out=buffer[:, : y.shape[1]])
            products = left @ centred
            np.square(centred, out=centred)
            rest = products[0] / len(w)
            yy = centred.sum(axis=0) - len(w) * rest**2
            m.mean_y[k, columns] = mean + rest
            m.wy[k][:, columns] = products[1:]
            m.yy[k, columns] = yy
            m.varies[k, columns] = _varies(y, mean, yy, m, k, columns)
    for array in (m.mean_y, m.wy, m.yy, m.varies):
        array[..., incomplete] = 0
    return m, incomplete


def centred_columns(w: Float, mean: Float) -> Float:
    """Centre columns (n, q); a constant one becomes exactly 0, not what rounding leaves of it."""
    centred = w - mean
    if len(w):
        centred[:, w.max(axis=0) == w.min(axis=0)] = 0.0
    return np.asarray(centred)


def _varies(
    y: Float, mean: Float, yy: Float, m: Moments, k: int, columns: slice
) -> NDArray[np.bool_]:
    """Decide constancy by max == min, and make the moments of a constant feature exact."""
    varies = np.ones(y.shape[1], dtype=bool)
    # Rounding leaves a constant a sum of squares far below this; everything else is above it.
    suspects = np.flatnonzero(yy <= 1e-18 * len(y) * mean**2)
    for j in suspects:
        column = y[:, j]
        if column.max() == column.min():
            varies[j] = False
            m.mean_y[k, columns.start + j] = column[0]
            m.yy[k, columns.start + j] = 0.0
            m.wy[k, :, columns.start + j] = 0.0
    return varies


def _refuse_infinite(part: Table, y: Float, columns: slice) -> None:
    infinite = np.isinf(y)
    if infinite.any():
        row, column = (int(i) for i in np.argwhere(infinite)[0])
        raise DataError(
            f"The value is {y[row, column]}.",
            do="Correct it, or mark it as missing (n/a).",
            site=part.site,
            person=part.who(row),
            feature=part.features[columns.start + column],
        )


def observed_moments(
    table: Table, W: Float, batches: tuple[str, ...], features: NDArray[np.intp]
) -> Moments:
    """Moments of features with missing cells, each over the people observed for it.

    Parameters
    ----------
    table, W, batches
        As for :func:`batch_moments`.
    features : (p',) int
        Columns of the table.

    Returns
    -------
    Moments
        With f = p'.
    """
    K, p, q = len(batches), len(features), W.shape[1]
    m = Moments(
        n=np.zeros((K, p)),
        mean_y=np.zeros((K, p)),
        mean_w=np.zeros((K, p, q)),
        ww=np.zeros((K, p, q, q)),
        wy=np.zeros((K, q, p)),
        yy=np.zeros((K, p)),
        varies=np.zeros((K, p), dtype=bool),
    )
    for k, batch in enumerate(batches):
        members = table.batch == batch
        part, w = table.where(members), W[members]
        for j, feature in enumerate(features):
            column = part.block(slice(feature, feature + 1))[:, 0]
            seen = np.isfinite(column)
            y, w_seen = column[seen], w[seen]
            if not len(y):
                continue
            m.n[k, j] = len(y)
            m.mean_w[k, j] = w_seen.mean(axis=0)
            centred_w = centred_columns(w_seen, m.mean_w[k, j])
            m.ww[k, j] = centred_w.T @ centred_w
            m.varies[k, j] = y.max() != y.min()
            if not m.varies[k, j]:
                m.mean_y[k, j] = y[0]
                continue
            mean = y.mean()
            mean += (y - mean).mean()
            m.mean_y[k, j] = mean
            m.yy[k, j] = ((y - mean) ** 2).sum()
            m.wy[k, :, j] = centred_w.T @ (y - mean)
    return m

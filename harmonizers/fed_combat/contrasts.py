"""What phi is trained on: differences of people within a batch, in which its intercept cancels.

The intercept that fits best for given phi is the batch's mean residual. Put in, it would tie a
sample's loss to the whole batch. Differences need no intercepts, so that none are trained, none
leave, and the loss stays a sum over people: for a line, of each from the batch's mean, exactly
(Frisch and Waugh); for other functions, of each from some others, since
``sum_k (e_k - mean e)^2 = sum_kl (e_k - e_l)^2 / 2n`` (docs/decisions/0023).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers._linear.moments import centred_columns

Float = NDArray[np.float64]
Int = NDArray[np.intp]

PEERS = 8
"""Others whom each is compared with. Of the information in all pairs, 16/17 are in these."""


def from_means(x: Float, w: Float, batch: Int) -> dict[str, NDArray[Any]]:
    """Differences from the batch's mean over the people observed for each feature.

    Parameters
    ----------
    x : (n, p) float64
        Features; NaN where missing.
    w : (n, q) float64
    batch : (n,) int

    Returns
    -------
    x, seen : (n, 1, p)
    w : (n, 1, q), or (n, p, q) where features lack people of their own
    """
    seen = np.isfinite(x)
    own = not seen.all()
    X = np.zeros_like(x)
    W = np.zeros((len(x), x.shape[1] if own else 1, w.shape[1]))
    for k in np.unique(batch):
        rows = np.flatnonzero(batch == k)
        for some, features in _patterns(seen[rows]):
            members = rows[some]
            X[np.ix_(members, features)] = _centred(x[np.ix_(members, features)])
            columns = features if own else np.zeros(1, dtype=np.intp)
            W[np.ix_(members, columns)] = _centred(w[members])[:, None]
    return {"x": X[:, None], "seen": seen[:, None], "w": W}


def _patterns(seen: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], Int]]:
    """(people, features) of the features that the same people have."""
    patterns, number = np.unique(seen, axis=1, return_inverse=True)
    for i, pattern in enumerate(patterns.T):
        if pattern.any():
            yield pattern, np.flatnonzero(number.reshape(-1) == i)


def _centred(columns: Float) -> Float:
    return centred_columns(columns, columns.mean(axis=0))


def from_peers(x: Float, w: Float, pool: Int, keys: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Differences from the next ``PEERS`` people of the same pool, in a circle by their keys.

    Parameters
    ----------
    x, w
        As for :func:`from_means`.
    pool : (n,) int
        Who may be compared: people of one batch.
    keys : (n,) int64
        Random, of the person and not of the site.

    Returns
    -------
    x, seen : (n, PEERS, p)
    w : (n, 1 + PEERS, q)
        The person's own covariates first.
    """
    peers = np.empty((len(x), PEERS), dtype=np.intp)
    for k in np.unique(pool):
        circle = np.flatnonzero(pool == k)
        circle = circle[np.argsort(keys[circle], kind="stable")]
        for m in range(PEERS):
            peers[circle, m] = np.roll(circle, -(m + 1))
    apart = x[:, None] - x[peers]
    seen = np.isfinite(apart)
    return {
        "x": np.where(seen, apart, 0.0),
        "seen": seen,
        "w": np.concatenate([w[:, None], w[peers]], axis=1),
    }

"""The last step: from estimates and batch effects to harmonized values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizers._linear.estimate import Estimates
from motet.harmonizers._linear.moments import chunks

Float = NDArray[np.float64]


def coefficients(
    estimates: Estimates, gamma_star: Float, delta_star: Float
) -> tuple[Float, Float]:
    """Write the adjustment of one batch as ``y* = y scale + [1, w] shift``.

    From ``y* = sigma (z - gamma*) / sqrt(delta*) + alpha + w beta`` with
    ``z = (y - alpha - w beta) / sigma``. Where delta* = 1 and gamma* = 0 this is y, to the bit.

    Returns
    -------
    scale : (p,) float64
    shift : (1 + q, p) float64
    """
    scale = 1.0 / np.sqrt(delta_star)
    sigma = np.sqrt(estimates.var_pooled)
    shift = (1.0 - scale) * np.vstack([estimates.alpha, estimates.beta])
    shift[0] -= sigma * gamma_star * scale
    return scale, shift


def adjusted(
    table: Table,
    W: Float,
    batches: tuple[str, ...],
    scales: Float,
    shifts: Float,
) -> Iterator[tuple[slice, Float]]:
    """Yield harmonized values, chunk by chunk of features.

    Parameters
    ----------
    table : Table
        n people, p features.
    W : (n, q) float64
    batches : tuple of str
        The batches that `scales`, (K, p), and `shifts`, (K, 1 + q, p), belong to.

    Yields
    ------
    columns : slice
    values : (n, c) float64
        The buffer is used again for the next chunk.
    """
    n, p = len(table), len(table.features)
    design = np.column_stack([np.ones(n), W])
    rows = [np.flatnonzero(table.batch == batch) for batch in batches]
    whole = len(batches) == 1
    buffer = np.empty((n, min(p, next(chunks(p)).stop)))
    for columns in chunks(p):
        y = table.block(columns)
        out = buffer[:, : y.shape[1]]
        for k, members in enumerate(rows):
            if whole:
                np.multiply(y, scales[0, columns], out=out)
                out += design @ shifts[0][:, columns]
            elif len(members):
                out[members] = y[members] * scales[k, columns]
                out[members] += design[members] @ shifts[k][:, columns]
        yield columns, out

"""The last step: from estimates and batch effects to harmonized values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizers._linear.estimate import Estimates

ROWS_BUFFER = 2**17
"""Values of whole rows handled at a time (1 MB): output files are written front to back."""

COLUMNS = 8192
"""Features of those rows handled at a time."""

Float = NDArray[np.float64]


def coefficients(estimates: Estimates, gamma_star: Float, delta_star: Float) -> tuple[Float, Float]:
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
    """Yield harmonized values, some rows at a time.

    Parameters
    ----------
    table : Table
        n people, p features.
    W : (n, q) float64
    batches : tuple of str
        The batches that `scales`, (K, p), and `shifts`, (K, 1 + q, p), belong to.

    Yields
    ------
    rows : slice
    values : (r, p) float64
        The buffer is used again for the next rows.
    """
    n, p = len(table), len(table.features)
    design = np.column_stack([np.ones(n), W])
    batch = np.array([batches.index(name) for name in table.batch.tolist()], dtype=np.intp)
    step = max(1, ROWS_BUFFER // max(p, 1))
    buffer = np.empty((min(n, step), p))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        out = buffer[: rows.stop - start]
        y = table.rows_block(rows)
        for k in np.unique(batch[rows]):
            index = np.flatnonzero(batch[rows] == k)
            members = slice(None) if len(index) == len(out) else index
            for left in range(0, p, COLUMNS):
                columns = slice(left, left + COLUMNS)
                part = y[members, columns] * scales[k, columns]
                part += design[rows][members] @ shifts[k][:, columns]
                out[members, columns] = part
        yield rows, out

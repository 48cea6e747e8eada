"""Features in parts: so many at a time, those of the same people together, those that vary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

CHUNK = 512
"""Features handled at a time. A constant, not a setting: it belongs to the result's last bits."""


def chunks(p: int) -> list[slice]:
    """Slices of at most ``CHUNK`` feature columns."""
    return [slice(start, min(start + CHUNK, p)) for start in range(0, p, CHUNK)]


def patterns(Y: Float) -> list[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    """Columns of Y (n, p) with the same missing cells, and the rows (n,) that they have."""
    seen = np.isfinite(Y)
    together: dict[bytes, list[int]] = {}
    for j in range(Y.shape[1]):
        together.setdefault(np.packbits(seen[:, j]).tobytes(), []).append(j)
    return [(np.array(columns), seen[:, columns[0]]) for columns in together.values()]


def varying(Y: Float) -> NDArray[np.bool_]:
    """Which columns of Y (n, p) have more than one value, (p,)."""
    seen = np.isfinite(Y)
    lowest = np.where(seen, Y, np.inf).min(axis=0, initial=np.inf)
    return np.asarray(np.where(seen, Y, -np.inf).max(axis=0, initial=-np.inf) > lowest)

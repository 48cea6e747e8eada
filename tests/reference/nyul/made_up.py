"""The brains that frozen results of intensity-normalization belong to; numpy alone makes them."""

from __future__ import annotations

import numpy as np

SHAPE = (12, 14, 11)


def brains(n: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images (x, y, z) float64 and their masks, skewed and shifted differently."""
    rng = np.random.default_rng(20140101)
    made = []
    for k in range(n):
        data = np.exp(rng.normal(4.0 + 0.2 * k, 0.3 + 0.05 * k, SHAPE)) + 10.0 * k
        mask = np.zeros(SHAPE, dtype=bool)
        mask[1:-1, 2:-1, 1:-2] = True
        mask &= rng.random(SHAPE) < 0.9
        made.append((data, mask))
    return made

"""The space of a design's columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def basis(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal basis of the columns of X (n, k), rank many."""
    U, values, _ = np.linalg.svd(X / np.maximum(np.abs(X).max(axis=0), 1e-300), full_matrices=False)
    return np.ascontiguousarray(U[:, values > values[0] * 1e-10])

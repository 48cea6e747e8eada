"""Room for large arrays that nobody needs when a process has ended."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

IN_MEMORY = 2**27
"""Bytes that are held in memory; more lie in a temporary file without a name."""


def room(
    shape: tuple[int, ...], dtype: np.dtype[Any], *, in_memory: int | None = None
) -> NDArray[Any]:
    """An array whose values are not set; a large one in a file that is gone when nobody holds it.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    in_memory : int
        Bytes above which it is a file; default: ``IN_MEMORY``.
    """
    most = IN_MEMORY if in_memory is None else in_memory
    if int(np.prod(shape)) * dtype.itemsize <= most:
        return np.empty(shape, dtype=dtype)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)

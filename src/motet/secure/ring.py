"""Numbers as integers modulo 2^64, which masks can hide and sums keep exact.

What has 32 or 16 bits is taken modulo 2^32 or 2^16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import SecureSumError

Ring = NDArray[Any]
"""uint64; uint32 or uint16 for what has so many bits."""
Float = NDArray[np.float64]

BITS = 62
"""A sum over sites stays below 2^62: the sign, and one bit of room for rounding."""

SMALLEST = -1000
"""Exponents of a scale lie between this and its opposite: a bound of 0 has no logarithm."""


def exponents(bounds: Float, sites: int, *, dtype: str = "uint64") -> NDArray[np.int64]:
    """Binary exponents of the scales, one for every entry.

    Parameters
    ----------
    bounds : (...) float64
        Public: no site's entry is larger, in absolute value.
    sites : int
        How many are summed at most.
    dtype : {"uint64", "uint32", "uint16"}
        The ring: the room is that of its integers.
    """
    with np.errstate(divide="ignore"):
        size = np.ceil(np.log2(bounds * float(sites)))
    room = BITS - 64 + 8 * np.dtype(dtype).itemsize
    return np.asarray(np.clip(room - size, SMALLEST, -SMALLEST), dtype=np.int64)


def to_ring(
    values: NDArray[np.generic],
    exponent: NDArray[np.int64] | int,
    *,
    sites: int,
    dtype: str = "uint64",
) -> Ring:
    """``round(value 2^exponent)`` modulo the ring's size; integers stay as they are.

    Parameters
    ----------
    values : (...) float or int
    exponent : (...) int64
        Of :func:`exponents`.
    sites : int
        How many are summed at most: each has its part of the room.
    dtype : {"uint64", "uint32", "uint16"}
        ``uint32`` for integers of 32 bits, and for numbers that need 24 only; ``uint16`` for
        numbers that need 10.

    Raises
    ------
    SecureSumError
        When a value is beyond the bound from which the exponent was made.
    """
    width = np.dtype(dtype)
    room = 2.0 ** (BITS - 64 + 8 * width.itemsize) / sites
    if values.dtype.kind in "iub":
        if values.size and float(np.abs(values.astype(np.float64)).max()) > room:
            raise SecureSumError("A count is too large for a secure sum.")
        # A new array: what is masked is changed in place.
        return np.array(values, dtype=np.int64, order="C").astype(width)
    scaled = np.rint(np.ldexp(values.astype(np.float64), exponent))
    if not (np.abs(scaled) <= room * (1 + 1e-12) + 1).all():
        raise SecureSumError("A value is beyond its public bound, or not finite.")
    return np.array(scaled, dtype=np.int64, order="C").astype(width)


def from_ring(total: Ring, exponent: NDArray[np.int64] | int) -> Float:
    """The sum as float64, to within half a unit of the scale a site."""
    return np.asarray(np.ldexp(counts(total).astype(np.float64), -np.asarray(exponent)))


def counts(total: Ring) -> NDArray[np.int64]:
    """The sum of integers."""
    return total.view(np.dtype(f"int{8 * total.dtype.itemsize}")).astype(np.int64)

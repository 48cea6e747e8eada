"""Numbers as integers modulo 2^64: exact within their bounds, refused beyond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.errors import SecureSumError
from motet.secure.ring import counts, exponents, from_ring, to_ring


@given(
    st.integers(3, 12),
    st.floats(1e-9, 1e18),
    st.sampled_from([("uint64", 62), ("uint32", 30), ("uint16", 14)]),
    st.integers(0, 2**32),
)
def test_sums_are_those_of_the_numbers(
    sites: int, bound: float, ring: tuple[str, int], seed: int
) -> None:
    """Catches a scale with which a sum runs over, or loses digits that the ring has."""
    values = np.random.default_rng(seed).uniform(-bound, bound, (sites, 7))
    values[:, 0], values[:, 1] = bound, -bound
    dtype, room = ring
    exponent = exponents(np.full(7, bound), sites, dtype=dtype)
    total = np.zeros(7, dtype=dtype)
    for own in values:
        total += to_ring(own, exponent, sites=sites, dtype=dtype)
    found = from_ring(total, exponent)
    assert found.dtype == np.float64
    off = (
        bound * sites * (1e-15 + sites * 2.0**-room)
    )  # a site: half a unit, of which it has 2^room
    np.testing.assert_allclose(found, values.sum(axis=0), rtol=0, atol=off)


def test_thickness_beside_volumes() -> None:
    """Catches one scale for a table: 2 mm would drown beside five million cubic millimetres."""
    bounds = np.array([4.0, 8e6])
    exponent = exponents(bounds, 10)
    values = np.array([[2.34567891234, 4_999_999.123456789]] * 10)
    total = sum((to_ring(own, exponent, sites=10) for own in values), np.zeros(2, dtype=np.uint64))
    assert np.abs(from_ring(total, exponent) / values.sum(axis=0) - 1).max() < 1e-15


def test_beyond_the_bound() -> None:
    """Catches a value that is larger than was declared: the sum of ten would run over."""
    exponent = exponents(np.array([1.0]), 10)
    to_ring(np.array([1.0]), exponent, sites=10)
    for value in (1.7, 9.9, -9.9, np.nan, np.inf):
        with pytest.raises(SecureSumError):
            to_ring(np.array([value]), exponent, sites=10)
    with pytest.raises(SecureSumError):
        to_ring(np.array([2**62 // 3], dtype=np.int64), 0, sites=10)


def test_counts_are_exact() -> None:
    """Catches integers that go through a double."""
    own = np.array([2**55 + 1, -3, 0], dtype=np.int64)
    total = sum((to_ring(own, 0, sites=4) for _ in range(4)), np.zeros(3, dtype=np.uint64))
    assert counts(total).tolist() == [4 * (2**55 + 1), -12, 0]


def test_a_bound_of_nothing() -> None:
    """Catches a logarithm of 0."""
    exponent = exponents(np.array([0.0]), 3)
    assert from_ring(to_ring(np.array([0.0]), exponent, sites=3), exponent)[0] == 0.0

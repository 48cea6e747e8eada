"""Moments of batches against exact arithmetic: large means, constants, chunks, missing cells."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.cases import Case, case
from motet.bids.memory import from_arrays
from motet.bids.table import Table
from motet.errors import DataError
from motet.harmonizers._linear import moments
from motet.harmonizers._linear.moments import batch_moments, chunks, observed_moments


def table_of(values: np.ndarray, rows: np.ndarray | None = None) -> Table:
    return from_arrays(values, site="s", batch="b", rows=rows)


def exact(values: np.ndarray, w: np.ndarray) -> tuple[Fraction, Fraction, list[Fraction]]:
    """Mean, centred sum of squares, and centred products with every covariate, as fractions."""
    y = [Fraction(float(v)) for v in values]
    mean = sum(y, Fraction()) / len(y)
    products = []
    for column in w.T:
        c = [Fraction(float(v)) for v in column]
        middle = sum(c, Fraction()) / len(c)
        terms = [(a - middle) * (b - mean) for a, b in zip(c, y, strict=True)]
        products.append(sum(terms, Fraction()))
    return mean, sum(((v - mean) ** 2 for v in y), Fraction()), products


@pytest.mark.parametrize("ratio", [0.0, 1.0, 1e3, 1e6, 1e9])
def test_moments_at_a_large_mean(ratio: float) -> None:
    """Catches squares before centring, which lose (mean / sd)^2: all 16 digits at 10^8. The last
    two digits of 10^9 are the data's own rounding, which the exact sum has too."""
    rng = np.random.default_rng(1)
    values = ratio + rng.standard_normal((40, 5))
    w = np.column_stack([rng.uniform(20, 80, 40), rng.integers(0, 2, 40)])
    m, incomplete = batch_moments(table_of(values), w, ("b",))
    assert not incomplete.any()
    seen = observed_moments(table_of(values), w, ("b",), np.arange(5))
    for j in range(5):
        mean, squares, products = exact(values[:, j], w)
        for got in (m, seen):
            assert abs(got.mean_y[0, j] - float(mean)) <= 4e-16 * abs(float(mean)) + 1e-16
            assert got.yy[0, j] == pytest.approx(float(squares), rel=1e-13)
            size = float(squares) ** 0.5 * m.ww[0, 0].diagonal() ** 0.5
            worst = np.abs(got.wy[0, :, j] - [float(v) for v in products]) / size
            assert worst.max() <= 1e-13


@settings(max_examples=60)
@given(
    values=st.lists(
        st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6), min_size=2, max_size=12
    )
)
def test_sum_of_squares_is_never_negative_and_varies_is_max_minus_min(values: list[float]) -> None:
    """Catches a tiny negative sum of squares, and constancy read off a variance."""
    column = np.array(values)[:, None]
    m, _ = batch_moments(table_of(column), np.zeros((len(values), 0)), ("b",))
    assert m.varies[0, 0] == (max(values) != min(values))
    assert m.yy[0, 0] >= 0
    _, squares, _ = exact(column[:, 0], np.zeros((len(values), 0)))
    size = max(abs(v) for v in values)
    assert abs(m.yy[0, 0] - float(squares)) <= 1e-13 * float(squares) + 1e-30 * size**2


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e100, -0.1, 0.0, 5e-324, 1e-200])
@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_constant_is_exactly_constant(value: float, n: int) -> None:
    """Catches seven times 0.1, whose variance by rounding is 1.3e-33 and not 0."""
    values = np.full((n, 3), value)
    values[:, 1] += np.arange(n) * 2.0
    w = np.linspace(0, 1, n)[:, None]
    m, _ = batch_moments(table_of(values), w, ("b",))
    seen = observed_moments(table_of(values), w, ("b",), np.arange(3))
    for got in (m, seen):
        for j in (0, 2):
            assert not got.varies[0, j]
            assert got.mean_y[0, j] == value
            assert got.yy[0, j] == 0
            assert (got.wy[0, :, j] == 0).all()


def test_nearly_constant_is_not_constant() -> None:
    """Catches a tolerance: one value in the last bit beside the others does vary."""
    values = np.full((50, 1), 1e6)
    values[7] = np.nextafter(1e6, 2e6)
    m, _ = batch_moments(table_of(values), np.zeros((50, 0)), ("b",))
    assert m.varies[0, 0]


@pytest.mark.parametrize("p", [1, 4, 5, 9, 10])
def test_chunk_boundaries(p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches the first or last feature of a chunk being skipped or taken twice."""
    study = case(p=p, missing=0.05, covariates=())
    w = np.random.default_rng(0).standard_normal((len(study.values), 2))
    table, names = study.pooled()["all"], tuple(study.batches)
    whole, incomplete = batch_moments(table, w, names)
    monkeypatch.setattr(moments, "CHUNK", 5)
    assert [columns.stop - columns.start for columns in chunks(p)] == [5] * (p // 5) + (
        [p % 5] if p % 5 else []
    )
    parts, incomplete_parts = batch_moments(table, w, names)
    np.testing.assert_array_equal(incomplete, incomplete_parts)
    for name in ("n", "mean_y", "mean_w", "ww", "wy", "yy"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-11)
    np.testing.assert_array_equal(parts.varies, whole.varies)


def two_batches() -> tuple[Case, np.ndarray]:
    study = case(n=(9, 11), p=6, missing=0.1, covariates=())
    return study, np.random.default_rng(0).standard_normal((20, 2))


def test_rows_of_a_shared_array_are_the_rows() -> None:
    """Catches a view of the wrong rows where several sites share one array."""
    study, w = two_batches()
    for name in study.batches:
        rows = np.flatnonzero(study.batch == name)
        shared = study.table(rows, "s")
        own = from_arrays(study.values[rows].copy(), site="s", batch=name)
        a, _ = batch_moments(shared, w[rows], (name,))
        b, _ = batch_moments(own, w[rows], (name,))
        for field in ("n", "mean_y", "mean_w", "ww", "wy", "yy"):
            np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=1e-13)


def test_observed_people_alone_are_counted() -> None:
    """Catches a count, a covariate mean or a product over people without a value."""
    study, w = two_batches()
    table = study.pooled()["all"]
    m = observed_moments(table, w, ("b0", "b1"), np.arange(6))
    for k, name in enumerate(("b0", "b1")):
        for j in range(6):
            seen = (study.batch == name) & ~np.isnan(study.values[:, j])
            y, ws = study.values[seen, j], w[seen]
            assert m.n[k, j] == seen.sum()
            centred = ws - ws.mean(axis=0)
            np.testing.assert_allclose(m.mean_w[k, j], ws.mean(axis=0), rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(m.ww[k, j], centred.T @ centred, rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(m.wy[k, :, j], centred.T @ y, rtol=1e-9)
            assert m.yy[k, j] == pytest.approx(((y - y.mean()) ** 2).sum(), rel=1e-12)


def test_nobody_observed_gives_zeros() -> None:
    """Catches a mean over nobody."""
    study, w = two_batches()
    values = study.values.copy()
    values[study.batch == "b0", 2] = np.nan
    table = replace(study, values=values).pooled()["all"]
    m = observed_moments(table, w, ("b0", "b1"), np.array([2]))
    assert m.n[0, 0] == m.mean_y[0, 0] == m.yy[0, 0] == 0
    assert not m.varies[0, 0]
    assert np.isfinite(m.mean_w).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_named_and_not_taken_for_missing(value: float) -> None:
    """Catches an overflow to infinity treated as an empty cell."""
    study, w = two_batches()
    values = np.nan_to_num(study.values)
    values[4, 3] = value
    with pytest.raises(DataError) as error:
        batch_moments(replace(study, values=values).pooled()["all"], w, ("b0", "b1"))
    assert error.value.where == {"site": "all", "person": "sub-5", "feature": "f3"}

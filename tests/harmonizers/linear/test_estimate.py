"""Pooled least squares from summed moments, against a dense fit in extended precision."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.cases import case
from conformance.direct import direct
from motet.agreement import agree
from motet.errors import DesignError
from motet.harmonizers._linear.design import design_matrix
from motet.harmonizers._linear.estimate import residual_ss, solve


def dense(values: np.ndarray, batch: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """alpha, beta and variance by QR on rows, centred within batch, in long doubles where numpy
    has them: normal equations refined by one step in extended precision."""
    names = np.unique(batch)
    y, x = values.astype(np.longdouble), w.astype(np.longdouble)
    yc, xc = y.copy(), x.copy()
    for name in names:
        rows = batch == name
        yc[rows] -= y[rows].mean(axis=0)
        xc[rows] -= x[rows].mean(axis=0)
    beta = np.linalg.lstsq(xc.astype(float), yc.astype(float), rcond=None)[0].astype(np.longdouble)
    for _ in range(2):
        residual = (yc - xc @ beta).astype(float)
        beta += np.linalg.lstsq(xc.astype(float), residual, rcond=None)[0]
    residual = yc - xc @ beta
    return (y - x @ beta).mean(axis=0), beta, (residual**2).mean(axis=0)


@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e6])
def test_estimates_at_a_large_mean(ratio: float) -> None:
    """Catches digits lost to the mean on the way from moments to estimates."""
    study = case(n=(20, 30, 25), p=8)
    study.values[:] = ratio + study.values / study.scale
    tables = study.tables()
    schema = agree([t.described for t in tables.values()])
    w = design_matrix(study.pooled()["all"], schema)
    shared = direct(study, tables).shared
    alpha, beta, var = dense(study.values, study.batch, w)
    sd = np.sqrt(var.astype(float))
    # The mean's own rounding, seen from within: one unit in its last place.
    unit = 1e-12 + ratio * 2e-16 / sd.min()
    assert (np.abs(shared["alpha"] - alpha) / sd).max() <= 50 * unit
    assert (np.abs(shared["beta"] - beta).max(axis=0) / sd).max() <= 50 * unit
    assert (np.abs(shared["var_pooled"] / var - 1)).max() <= 50 * unit


def test_variance_of_a_perfect_fit_is_zero_and_not_rounding() -> None:
    """Catches a feature that the covariates explain completely being divided by 1e-17."""
    study = case(n=(20, 30), p=3, covariates=("age", "sex"))
    age = study.covariates["age"].to_numpy()
    study.values[:, 1] = 3.7 * age + np.where(study.batch == "b0", 1.1, -2.3)
    fit = direct(study, study.tables())
    assert fit.shared["var_pooled"][1] == 0
    assert not fit.shared["adjustable"][1]
    np.testing.assert_array_equal(fit.values[:, 1], study.values[:, 1])
    assert np.isfinite(fit.values).all()


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_rank_check_does_not_depend_on_units(scale: float) -> None:
    """Catches income in cents being collinear, or collinear columns passing in kilometres."""
    study = case(p=2, covariates=("age", "sex"))
    schema = agree([t.described for t in study.tables().values()])
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2)) * [scale, 1.0]
    wy = x.T @ rng.standard_normal((50, 3))
    beta = solve(x.T @ x, wy, schema)
    np.testing.assert_allclose(x.T @ x @ beta, wy, rtol=1e-9)
    x[:, 1] = x[:, 0] / scale * 3
    with pytest.raises(DesignError, match="collinear"):
        solve(x.T @ x, wy, schema)


def test_nearly_collinear_is_told_from_collinear() -> None:
    """Catches a tolerance so wide that age and age at scan cannot be kept together."""
    study = case(p=2, covariates=("age", "sex"))
    schema = agree([t.described for t in study.tables().values()])
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 2))
    x[:, 1] = x[:, 0] + 1e-3 * x[:, 1]
    solve(x.T @ x, np.ones((2, 1)), schema)
    x[:, 1] = x[:, 0] + 1e-7 * rng.standard_normal(500)
    with pytest.raises(DesignError):
        solve(x.T @ x, np.ones((2, 1)), schema)


def test_residual_sum_is_never_negative() -> None:
    """Catches the root of a negative number where the fit is perfect."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        x = rng.standard_normal((6, 3))
        y = x @ rng.standard_normal((3, 4))
        ww, wy, yy = x.T @ x, x.T @ y, (y**2).sum(axis=0)
        beta = np.linalg.solve(ww, wy)
        assert (residual_ss(yy, wy, ww, beta) == 0).all()

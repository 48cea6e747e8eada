"""Empirical Bayes: no underflow, no NaN, its limits, and its own identities."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest

from motet.errors import DesignError
from motet.harmonizers._linear import empirical_bayes as eb
from motet.harmonizers._linear.empirical_bayes import (
    ESTIMATORS,
    Evidence,
    nonparametric,
    parametric,
)
from motet.harmonizers.combat.params import ComBatParams


def evidence(p: int = 40, n: float = 30, seed: int = 0) -> tuple[Evidence, np.ndarray]:
    """Evidence of n people on p features, and their standardized values (n, p)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(rng.normal(0, 0.3, p), rng.uniform(0.7, 1.4, p), (int(n), p))
    found = Evidence(
        n=np.full(p, float(n)), gamma_hat=z.mean(axis=0), delta_hat=z.var(axis=0, ddof=1)
    )
    return found, z


def direct_kernel(z: np.ndarray, found: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Johnson 2007, section 3.3, from people's values and not from sums; logs, loops."""
    n, p = z.shape
    gamma, delta = np.empty(p), np.empty(p)
    for j in range(p):
        others = [k for k in range(p) if k != j]
        g, d = found.gamma_hat[others], found.delta_hat[others]
        log = np.array(
            [
                -n / 2 * np.log(2 * np.pi * dl) - ((z[:, j] - gl) ** 2).sum() / (2 * dl)
                for gl, dl in zip(g, d, strict=True)
            ]
        )
        weight = np.exp(log - log.max())
        gamma[j], delta[j] = (weight * g).sum() / weight.sum(), (weight * d).sum() / weight.sum()
    return gamma, delta


@pytest.mark.parametrize("n", [5, 30, 1500, 5000])
def test_nonparametric_equals_the_kernel_over_people(n: int) -> None:
    """Catches a wrong sum of squares, a feature in its own prior, and underflow: with 1,500
    people the likelihood itself is 0 in double precision and neuroCombat gives NaN."""
    found, z = evidence(n=n)
    gamma, delta = nonparametric(found)
    expected = direct_kernel(z, found)
    np.testing.assert_allclose(gamma, expected[0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(delta, expected[1], rtol=0, atol=1e-10)
    assert np.isfinite([gamma, delta]).all()


@pytest.mark.parametrize("key", list(ESTIMATORS), ids="-".join)
@pytest.mark.parametrize("n", [2, 1500])
def test_every_estimator_gives_numbers(key: tuple[str, str], n: int) -> None:
    """Catches NaN, a scale that is not positive, and a location adjustment that scales."""
    gamma, delta = ESTIMATORS[key](evidence(n=n)[0])
    assert np.isfinite([gamma, delta]).all()
    assert (delta > 0).all()
    if key[1] == "location":
        assert (delta == 1).all()


def test_every_combination_has_an_estimator() -> None:
    """Catches an option that validation allows and nothing implements; 'none' needs no prior."""
    options = [get_args(ComBatParams.model_fields[name].annotation) for name in ("prior", "adjust")]
    allowed = {key for key in itertools.product(*options) if key[0] != "none"}
    assert allowed <= set(ESTIMATORS)


@pytest.mark.parametrize("p", [2, 255, 256, 257, 600])
def test_blocks_of_the_kernel(p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a feature that is left in its own prior at the edge of a block."""
    found, _ = evidence(p=p)
    blocks = nonparametric(found)
    monkeypatch.setattr(eb, "BLOCK", 10_000)
    for got, expected in zip(blocks, nonparametric(found), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def test_too_many_features_for_the_kernel() -> None:
    """Catches a machine that fills its memory with p^2 instead of a sentence."""
    p = eb.NONPARAMETRIC_LIMIT + 1
    many = Evidence(n=np.full(p, 9.0), gamma_hat=np.zeros(p), delta_hat=np.ones(p))
    with pytest.raises(DesignError, match=str(p)) as error:
        nonparametric(many)
    assert "parametric" in str(error.value)


def test_far_outlier_gets_its_nearest_neighbour() -> None:
    """Catches weights that are all 0 for a feature far from every other."""
    found, _ = evidence(n=1500)
    gamma_hat = found.gamma_hat.copy()
    gamma_hat[3] = 500.0
    gamma, delta = nonparametric(
        Evidence(n=found.n, gamma_hat=gamma_hat, delta_hat=found.delta_hat)
    )
    assert np.isfinite([gamma, delta]).all()
    assert gamma[3] <= np.delete(gamma_hat, 3).max()


def test_parametric_is_a_fixed_point() -> None:
    """Catches a wrong posterior mean: at convergence both equations of Johnson 2007 hold."""
    found, z = evidence(p=200)
    gamma, delta = parametric(found)
    bar, tau2 = found.gamma_hat.mean(), found.gamma_hat.var(ddof=1)
    m, s2 = found.delta_hat.mean(), found.delta_hat.var(ddof=1)
    a, b = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
    n = len(z)
    g = (tau2 * n * found.gamma_hat + delta * bar) / (tau2 * n + delta)
    d = (0.5 * ((z - gamma) ** 2).sum(axis=0) + b) / (n / 2 + a - 1)
    np.testing.assert_allclose(gamma, g, atol=1e-4)
    np.testing.assert_allclose(delta, d, rtol=1e-4)


def test_parametric_with_equal_scales_takes_their_mean() -> None:
    """Catches 0 / 0 in the inverse gamma prior when no spread is seen."""
    p = 12
    same = Evidence(n=np.full(p, 10.0), gamma_hat=np.linspace(-1, 1, p), delta_hat=np.full(p, 0.75))
    gamma, delta = parametric(same)
    np.testing.assert_allclose(delta, 0.75, rtol=1e-12)
    assert np.isfinite(gamma).all()


def test_parametric_with_equal_locations_takes_their_mean() -> None:
    """Catches 0 / 0 in the normal prior."""
    p = 12
    same = Evidence(n=np.full(p, 10.0), gamma_hat=np.full(p, 0.3), delta_hat=np.linspace(0.5, 2, p))
    gamma, delta = parametric(same)
    np.testing.assert_allclose(gamma, 0.3, rtol=1e-12)
    assert np.isfinite(delta).all()


def test_shrinkage_fades_with_people() -> None:
    """Catches n missing from the posterior: with many people the data speak."""
    for n, most in ((5, np.inf), (100_000, 1e-3)):
        rng = np.random.default_rng(0)
        found = Evidence(
            n=np.full(30, float(n)),
            gamma_hat=rng.normal(0, 0.5, 30),
            delta_hat=rng.uniform(0.6, 1.6, 30),
        )
        gamma, delta = parametric(found)
        moved = np.abs(gamma - found.gamma_hat).max() + np.abs(delta - found.delta_hat).max()
        assert moved < most
        assert moved > 0

"""Empirical Bayes for one batch: from gamma_hat and delta_hat to gamma_star and delta_star.

The priors are estimated across the features of the batch, so this step needs nothing from other
sites. The sum of squares about any location g follows from what is known already,
``SS(g) = (n - 1) delta_hat + n (gamma_hat - g)^2``, so no person's value is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.errors import DesignError

Float = NDArray[np.float64]
Estimator = Callable[["Evidence"], tuple[Float, Float]]

CONVERGENCE = 1e-4
"""Stop rule of neuroCombat and sva; the result depends on it by about 1e-6 sd."""

MOST_ITERATIONS = 10_000
"""Three to five are usual. The reference implementations have no limit."""

NONPARAMETRIC_LIMIT = 20_000
"""Features in one prior pool. The kernel compares every pair: 20,000 take about 10 s a batch."""

BLOCK = 256
"""Features of a non-parametric kernel handled at a time."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a batch says about p features: counts, locations and scales of standardized values.

    Attributes
    ----------
    n : (p,) float64
        Observed people, at least 2.
    gamma_hat : (p,) float64
        Mean of z.
    delta_hat : (p,) float64
        Variance of z, divisor n - 1.
    """

    n: Float
    gamma_hat: Float
    delta_hat: Float


def location_posterior(gamma_hat: Float, n: Float | float, prior: Evidence) -> Float:
    """Posterior mean of the location where the scale is taken as 1 (Johnson 2007, eq. 3.1)."""
    gamma_bar, tau2 = prior.gamma_hat.mean(), prior.gamma_hat.var(ddof=1)
    return np.asarray((tau2 * n * gamma_hat + gamma_bar) / (tau2 * n + 1.0))


def parametric(evidence: Evidence) -> tuple[Float, Float]:
    """Normal prior for gamma, inverse gamma prior for delta (Johnson 2007, section 3.2).

    Iterates the two posterior means until no feature changes by more than ``CONVERGENCE``. The
    denominators of the relative changes keep their sign, as in the reference implementations:
    a feature with a negative gamma never holds the loop open, and with another rule the results
    would differ from theirs by 1e-6 sd.
    """
    n, gamma_hat, delta_hat = evidence.n, evidence.gamma_hat, evidence.delta_hat
    gamma_bar, tau2 = gamma_hat.mean(), gamma_hat.var(ddof=1)
    mean, var = delta_hat.mean(), delta_hat.var(ddof=1)
    if var == 0:
        # All scales equal: the prior has no width, and the posterior is its mean.
        shape, rate = 2.0, mean
        weight = 0.0
    else:
        shape, rate = (2.0 * var + mean**2) / var, (mean * var + mean**3) / var
        weight = 1.0
    gamma, delta = gamma_hat, delta_hat
    change = np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(MOST_ITERATIONS):
            if not change > CONVERGENCE:  # a change that is not a number ends it, too
                break
            new_gamma = (tau2 * n * gamma_hat + delta * gamma_bar) / (tau2 * n + delta)
            ss = (n - 1.0) * delta_hat + n * (gamma_hat - new_gamma) ** 2
            new_delta = (weight * 0.5 * ss + rate) / (weight * n / 2.0 + shape - 1.0)
            change = max(
                (np.abs(new_gamma - gamma) / gamma).max(),
                (np.abs(new_delta - delta) / delta).max(),
            )
            gamma, delta = new_gamma, new_delta
    return gamma, delta


def nonparametric(evidence: Evidence) -> tuple[Float, Float]:
    """Leave-one-feature-out kernel prior (Johnson 2007, section 3.3), in log space.

    The likelihood of feature j's values under feature l's location and scale is computed from
    (n, gamma_hat, delta_hat) and normalized by its largest before it is exponentiated: with 1,500
    people the product itself is 0 in double precision.

    Raises
    ------
    DesignError
        For more than ``NONPARAMETRIC_LIMIT`` features: time and memory grow with p^2.
    """
    n, gamma_hat, delta_hat = evidence.n, evidence.gamma_hat, evidence.delta_hat
    p = len(gamma_hat)
    if p > NONPARAMETRIC_LIMIT:
        raise DesignError(
            f"The non-parametric prior compares every pair of features; {p} are too many "
            f"(at most {NONPARAMETRIC_LIMIT} in one group).",
            do="Use prior: parametric, or split the features with feature_groups.",
        )
    gamma, delta = np.empty(p), np.empty(p)
    precision, log_scale = 0.5 / delta_hat, 0.5 * np.log(delta_hat)
    for start in range(0, p, BLOCK):
        rows = slice(start, min(start + BLOCK, p))
        m, g, d = n[rows, None], gamma_hat[rows, None], delta_hat[rows, None]
        log_likelihood = g - gamma_hat
        np.square(log_likelihood, out=log_likelihood)
        log_likelihood *= m
        log_likelihood += (m - 1.0) * d
        log_likelihood *= -precision
        log_likelihood -= m * log_scale
        own = np.arange(rows.stop - rows.start)
        log_likelihood[own, start + own] = -np.inf
        log_likelihood -= log_likelihood.max(axis=1, keepdims=True)
        weight = np.exp(log_likelihood, out=log_likelihood)
        total = weight.sum(axis=1)
        gamma[rows] = weight @ gamma_hat / total
        delta[rows] = weight @ delta_hat / total
    return gamma, delta


def location_only_parametric(evidence: Evidence) -> tuple[Float, Float]:
    """Location only, normal prior. The reference packages put 1 in the place of n here."""
    gamma = location_posterior(evidence.gamma_hat, 1.0, evidence)
    return gamma, np.ones_like(gamma)


def location_only_nonparametric(evidence: Evidence) -> tuple[Float, Float]:
    """Location only, kernel prior with all scales 1."""
    ones = np.ones_like(evidence.gamma_hat)
    gamma, _ = nonparametric(Evidence(n=evidence.n, gamma_hat=evidence.gamma_hat, delta_hat=ones))
    return gamma, ones


ESTIMATORS: dict[tuple[str, str], Estimator] = {
    ("parametric", "location_scale"): parametric,
    ("nonparametric", "location_scale"): nonparametric,
    ("parametric", "location"): location_only_parametric,
    ("nonparametric", "location"): location_only_nonparametric,
}

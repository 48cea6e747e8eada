"""The site's half after the fit: gamma_star and delta_star of its batches. They never leave."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers._linear.empirical_bayes import ESTIMATORS, Evidence, location_posterior
from motet.harmonizers._linear.estimate import RESIDUAL_TOLERANCE, Estimates
from motet.harmonizers._linear.moments import Moments
from motet.harmonizers._linear.options import Options

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def standardized(m: Moments, estimates: Estimates) -> tuple[Float, Float, Float, Bool]:
    """Counts, means and variances (divisor n - 1) of ``z = (y - alpha - w beta) / sigma``.

    Parameters
    ----------
    m : Moments
        Of K batches and p features.
    estimates : Estimates
        Of the same p features.

    Returns
    -------
    n, gamma_hat, delta_hat : (K, p) float64
        0 and 1 where they are not defined.
    scaled : (K, p) bool
        Where the batch says anything of the scale: the feature is not constant in it, and what
        the covariates leave is more than rounding.
    """
    beta, var = estimates.beta, np.where(estimates.var_pooled > 0, estimates.var_pooled, 1.0)
    n = np.broadcast_to(m.n, m.mean_y.shape)
    gamma_hat, delta_hat = np.empty(n.shape), np.empty(n.shape)
    scaled = np.zeros(n.shape, dtype=bool)
    for k in range(len(n)):
        fitted = np.einsum("jq,qj->j", np.broadcast_to(m.mean_w[k], (n.shape[1], len(beta))), beta)
        if m.ww.shape[1] == 1:
            quadratic = (beta * (m.ww[k, 0] @ beta)).sum(axis=0)
        else:
            quadratic = np.einsum("qj,jqr,rj->j", beta, m.ww[k], beta)
        residual = m.yy[k] - 2.0 * (beta * m.wy[k]).sum(axis=0) + quadratic
        gamma_hat[k] = (m.mean_y[k] - estimates.alpha - fitted) / np.sqrt(var)
        # Two people whom the covariates tell apart leave a residual of rounding: its last bit
        # must not decide whether the feature joins the prior.
        scaled[k] = m.varies[k] & (residual > RESIDUAL_TOLERANCE * (m.yy[k] + quadratic))
        delta_hat[k] = np.where(scaled[k], residual / np.maximum(n[k] - 1.0, 1.0) / var, 1.0)
    gamma_hat[n == 0] = 0.0
    return n, gamma_hat, delta_hat, scaled


def batch_effects(
    *,
    n: Float,
    gamma_hat: Float,
    delta_hat: Float,
    scaled: Bool,
    adjustable: Bool,
    group: NDArray[np.intp],
    params: Options,
    warn: Callable[[str], None],
) -> tuple[Float, Float]:
    """gamma_star and delta_star, (p,) each, of one batch.

    The prior pool of a group is its features of which the batch says something of the scale
    (`scaled`) and which have at least two values in it; in a batch of one person, all its
    features. A feature outside the pool says nothing of its scale here: it is adjusted in
    location only, at delta = 1, with the same normal prior. A pool of fewer than two features
    gives no prior. A feature without a value in the batch, and one that is not adjustable at all,
    is left as it is.
    """
    gamma_star, delta_star = np.zeros(len(n)), np.ones(len(n))
    alone = bool((n <= 1).all())
    for g in np.unique(group):
        usable = (group == g) & adjustable & (n > 0)
        both = usable & scaled & (n > 1)
        rest = usable & ~both
        pool = usable if alone else both
        if params.prior == "none" or pool.sum() < 2:
            if params.prior != "none" and usable.any():
                warn("A prior pool of fewer than two features gives no prior: adjusted without.")
            gamma_star[usable] = gamma_hat[usable]
            if params.adjust == "location_scale":
                delta_star[both] = delta_hat[both]
            continue
        prior = Evidence(n=n[pool], gamma_hat=gamma_hat[pool], delta_hat=delta_hat[pool])
        if not alone:
            estimator = ESTIMATORS[params.prior, params.adjust]
            gamma_star[both], delta_star[both] = estimator(prior)
        count = n[rest] if params.adjust == "location_scale" else 1.0
        gamma_star[rest] = location_posterior(gamma_hat[rest], count, prior)
    return gamma_star, delta_star

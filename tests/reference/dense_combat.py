"""An oracle of ComBat: pooled data, dense loops, no shared sums, no code of the product.

The rules, where tables are irregular (m_ij people of batch i have feature j; m_j is their sum):

* Fit. Feature j is fitted by least squares on its complete rows, with one column per batch beside
  the covariates. alpha_j = sum_i (m_ij / m_j) B_ij and var_j = RSS_j / m_j. With a reference batch
  r: alpha_j = B_rj and var_j = (RSS over r's observed rows) / m_rj; 0 if constant in r.
* Left out. A feature that varies (max != min) within no batch, or whose var_j is 0 (with a
  reference also: fewer than two people of r have it), is in no fit and no prior, and is put back
  untouched. The estimates hold NaN there (gamma_star 0, delta_star 1).
* Constants. A feature with m_ij >= 2 whose observed values in batch i are all equal (max == min,
  never variance == 0) says nothing of its scale there: it is adjusted in location only, with
  delta_star = 1. Likewise where the covariates leave nothing but rounding of it. (With covariates,
  z of a constant still varies through w beta: scaling by that would invent a covariate effect.)
* Prior pool of batch i: the features (of one group) with m_ij >= 2 that are not constant in it.
  gamma_bar, tau2 (ddof 1) and delta_hat's mean and variance (ddof 1) are taken over the pool.
* A batch in which no feature has m_ij >= 2 (one person) is adjusted in location only; its pool is
  its features with m_ij == 1.
* A pool of fewer than two features gives no prior: its group is adjusted there as with 'none'.
* Parametric. The pool iterates together and stops as neuroCombat does: change = max of
  max |g' - g| / g (g SIGNED) and max |d' - d| / d, on while change > 1e-4; NaN ends it.
  No spread among the pool's delta_hat (s2 = 0) is the limit a -> inf: delta_star is their mean.
  tau2 = 0 gives gamma_star = gamma_bar.
* Non-parametric. Leave-one-out kernel over the pool with n = m_ij of the target.
* m_ij == 1, and constants: location only, under both priors,
  gamma_star = (tau2 m gamma_hat + gamma_bar) / (tau2 m + 1). m_ij == 0: gamma_star 0, delta_star 1.
* Prior 'none': gamma_hat and delta_hat (delta_hat of 0, or undefined: 1).
* Adjusting location only: delta_star = 1; parametric, and all constants, as for m_ij == 1 (m
  replaced by 1); non-parametric with every delta_hat = 1 within the kernel.
* Reference batch: gamma_star 0, delta_star 1, its rows are returned exactly as given.
* Missing cells stay missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

STOP = 1e-4
MAX_ROUNDS = 10_000  # neuroCombat has no cap; a test must not hang


def dense_combat(
    Y: Any,
    batch: Any,
    W: Any = None,
    *,
    prior: str = "parametric",
    adjust: str = "location_scale",
    reference: Any = None,
    groups: Any = None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Harmonized (n, p) table, and the estimates behind it.

    Estimates: alpha (p,), beta (q, p), var_pooled (p,), gamma_star and delta_star {batch: (p,)}.
    """
    assert prior in ("parametric", "nonparametric", "none"), prior
    assert adjust in ("location_scale", "location"), adjust
    Y = np.array(Y, dtype=np.float64)
    n, p = Y.shape
    batch = np.asarray(batch)
    W = np.zeros((n, 0)) if W is None else np.asarray(W, dtype=np.float64).reshape(n, -1)
    groups = np.zeros(p, dtype=int) if groups is None else np.asarray(groups)
    labels = list(np.unique(batch))
    assert reference is None or reference in labels, reference
    assert np.isfinite(W).all(), "covariates must be complete"
    assert (groups.shape, batch.shape) == ((p,), (n,))

    alpha, beta, var = fit_features(Y, batch, W, labels, reference)
    kept = np.isfinite(var)
    z = (Y - alpha - W @ beta) / np.sqrt(var)

    out = Y.copy()
    gamma_star, delta_star = {}, {}
    for label in labels:
        rows = batch == label
        gamma, delta = np.zeros(p), np.ones(p)
        if label != reference:
            gamma, delta = batch_effects(z[rows], Y[rows], var, groups, prior, adjust)
            fixed = np.sqrt(var) * (z[rows] - gamma) / np.sqrt(delta) + alpha + W[rows] @ beta
            out[np.ix_(rows, kept)] = fixed[:, kept]
        gamma_star[label], delta_star[label] = gamma, delta
    estimates = {"alpha": alpha, "beta": beta, "var_pooled": var}
    return out, {**estimates, "gamma_star": gamma_star, "delta_star": delta_star}


def fit_features(
    Y: np.ndarray, batch: np.ndarray, W: np.ndarray, labels: list[Any], reference: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """alpha, beta and pooled variance of each feature by itself; NaN where it is left out."""
    p, k = Y.shape[1], len(labels)
    design = np.hstack([(batch[:, None] == np.array(labels)[None, :]).astype(float), W])
    alpha, beta, var = np.full(p, np.nan), np.full((W.shape[1], p), np.nan), np.full(p, np.nan)
    for j in range(p):
        seen = ~np.isnan(Y[:, j])
        y, D, own = Y[seen, j], design[seen], batch[seen]
        values = [y[own == label] for label in labels]
        if not any(v.size and v.max() != v.min() for v in values):
            continue
        B = np.linalg.lstsq(D, y, rcond=None)[0]
        squares = (y - D @ B) ** 2
        if reference is None:
            a = sum(x.size * b for x, b in zip(values, B[:k], strict=True)) / y.size
            v = squares.mean()
        elif len(set(values[labels.index(reference)])) >= 2:
            a, v = B[labels.index(reference)], squares[own == reference].mean()
        else:
            continue
        if v <= 1e-24 * (y**2).mean():  # 0 but for the rounding of least squares
            continue
        alpha[j], beta[:, j], var[j] = a, B[k:], v
    return alpha, beta, var


def batch_effects(
    z: np.ndarray, y: np.ndarray, var: np.ndarray, groups: np.ndarray, prior: str, adjust: str
) -> tuple[np.ndarray, np.ndarray]:
    """gamma_star and delta_star of one batch, from its own rows of z (y tells what is constant)."""
    p = z.shape[1]
    scale = adjust == "location_scale"
    m = np.where(np.isfinite(var), (~np.isnan(y)).sum(axis=0), 0)
    gamma_hat, delta_hat, constant = np.zeros(p), np.ones(p), np.zeros(p, dtype=bool)
    for j in np.flatnonzero(m):
        seen = ~np.isnan(y[:, j])
        gamma_hat[j] = z[seen, j].mean()
        constant[j] = m[j] >= 2 and y[seen, j].max() == y[seen, j].min()
        # Saturated: the covariates explain the batch's values but for rounding.
        constant[j] |= m[j] >= 2 and np.ptp(z[seen, j]) * var[j] ** 0.5 < 1e-6 * np.ptp(y[seen, j])
        if m[j] >= 2 and not constant[j]:
            delta_hat[j] = z[seen, j].var(ddof=1)
    alone = not (m >= 2).any()
    in_pool = (m == 1) if alone else (m >= 2) & ~constant

    gamma, delta = np.zeros(p), np.ones(p)
    for group in np.unique(groups):
        mine = np.flatnonzero((groups == group) & (m >= 1))
        pool = np.flatnonzero((groups == group) & in_pool)
        if prior == "none" or pool.size < 2:
            gamma[mine] = gamma_hat[mine]
            delta[mine] = delta_hat[mine] if scale else 1.0
            continue
        gamma_bar, tau2 = gamma_hat[pool].mean(), gamma_hat[pool].var(ddof=1)
        fixed = constant[mine] | (m[mine] == 1)
        once = mine if prior == "parametric" and not scale else mine[fixed]
        weight = tau2 * (m[once] if scale else 1)
        gamma[once] = (weight * gamma_hat[once] + gamma_bar) / (weight + 1)
        rest = np.setdiff1d(mine, once)
        if not rest.size:
            continue
        if prior == "parametric":
            hyper = gamma_bar, tau2, delta_hat[pool].mean(), delta_hat[pool].var(ddof=1)
            ss = sum_of_squares(z[:, pool])
            start = gamma_hat[pool], delta_hat[pool]
            gamma[pool], delta[pool] = iterate(ss, m[pool], *start, *hyper)
        else:
            for j in rest:
                others = pool[pool != j]
                g, d = gamma_hat[others], delta_hat[others] if scale else np.ones(others.size)
                column = np.repeat(z[:, [j]], others.size, axis=1)
                ss = sum_of_squares(column)(g)
                gamma[j], delta[j] = kernel_mean(ss, m[j], g, d)
    return gamma, delta if scale else np.ones(p)


def sum_of_squares(z: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """SS(g) per column, of the data itself."""
    return lambda g: np.nansum((z - g) ** 2, axis=0)


def kernel_mean(ss: np.ndarray, n: int, g: np.ndarray, d: np.ndarray) -> tuple[float, float]:
    """The mean location and scale of other features, weighted by the target's likelihood."""
    log_like = -0.5 * n * np.log(2 * np.pi * d) - ss / (2 * d)
    like = np.exp(log_like - log_like.max())
    return float((g * like).sum() / like.sum()), float((d * like).sum() / like.sum())


def iterate(
    ss: Callable[[np.ndarray], np.ndarray],
    n: np.ndarray,
    gamma_hat: np.ndarray,
    delta_hat: np.ndarray,
    gamma_bar: float,
    tau2: float,
    m: float,
    s2: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The parametric conditional means, turn by turn, until neuroCombat's rule stops them."""
    g, d = gamma_hat, delta_hat
    for _ in range(MAX_ROUNDS):
        g_new = (tau2 * n * gamma_hat + d * gamma_bar) / (tau2 * n + d)
        if s2 == 0:
            d_new = np.full_like(d, m)
        else:
            a, b = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
            d_new = (0.5 * ss(g_new) + b) / (0.5 * n + a - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = np.concatenate([np.abs(g_new - g) / g, np.abs(d_new - d) / d])
        g, d = g_new, d_new
        if not moved.max() > STOP:  # NaN ends it too
            return g, d
    raise RuntimeError(f"no convergence in {MAX_ROUNDS} rounds")

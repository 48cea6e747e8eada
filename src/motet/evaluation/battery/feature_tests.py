"""Tests of one feature at a time for a difference between batches, given the covariates.

All take `E`, (n, p): what intercept and covariates leave of the features (:meth:`Design.residuals`,
fitted on the people tested), and return one entry a feature.
"""

from __future__ import annotations

import numpy as np
from scipy.special import chdtrc, fdtrc  # those of scipy.stats, without a second of imports

from motet.evaluation.battery.design import Design
from motet.evaluation.battery.sample import Float


def anova(E: Float, design: Design) -> Float:
    """P value of the F test of batch means given the covariates; exact for normal errors."""
    return f_test(*design.between(E), design.df1, design.df2)


def kruskal(E: Float, design: Design) -> Float:
    """P value of the Kruskal-Wallis test, given the covariates.

    Ranks R of the residuals; H = (n - rank of intercept and covariates) times the share of what
    covariates leave of R that lies between batches, chi2 with df1 degrees of freedom. Without
    covariates this is H corrected for ties (Kruskal, Wallis 1952, doi:10.2307/2280779). Covariates
    that differ between batches are taken out of the ranks too, or they would hide the batches.
    """
    from scipy.stats import rankdata  # a second of imports

    R = design.residuals(rankdata(E, axis=0))
    between, error = design.between(R)
    H = (len(E) - design.covariates.shape[1]) * between / (between + error)
    p: Float = chdtrc(design.df1, H)
    return p


def levene(E: Float, design: Design) -> Float:
    """P value of the Brown-Forsythe test: Levene's, about the median of each batch.

    Of the residuals of batches and covariates (Brown, Forsythe 1974,
    doi:10.1080/01621459.1974.10482955). Batches of one person have no spread and are left out.
    """
    residuals = design.errors(E)
    groups = [rows for rows in design.groups if len(rows) > 1]
    if len(groups) < 2:
        return np.full(E.shape[1], np.nan)
    z = [np.abs(residuals[rows] - np.median(residuals[rows], axis=0)) for rows in groups]
    n = sum(map(len, z))
    grand = sum(part.sum(axis=0) for part in z) / n
    between = sum(len(part) * (part.mean(axis=0) - grand) ** 2 for part in z)
    error = sum(((part - part.mean(axis=0)) ** 2).sum(axis=0) for part in z)
    floor = 1e-12 * (E**2).sum(axis=0) + np.finfo(float).tiny
    return f_test(between, np.maximum(error, floor), len(z) - 1, n - len(z))


def anderson(E: Float, design: Design) -> Float:
    """Standardized Anderson-Darling statistic of k samples, T = (A2 - (k - 1)) / sigma.

    Scholz and Stephens 1987 (doi:10.1080/01621459.1987.10478517), equations 3 and 4, for values
    without ties; where two are equal the row that comes first counts as smaller.
    """
    n, _ = E.shape
    k = len(design.groups)
    size = np.array([len(rows) for rows in design.groups], dtype=np.float64)
    # Sixteen bits: numpy sorts them by radix.
    code = np.unique(design.batch, return_inverse=True)[1].astype(np.int16)
    order = np.argsort(E, axis=0, kind="stable")
    sorted_code = code[order]
    # M_ij: how many of sample i are among the j smallest. One sample grows by one at each step,
    # so sum_i M_ij^2 / n_i is a running sum of (2 r - 1) / n_i, r the rank within the sample.
    within = np.empty(E.shape)
    columns = np.arange(E.shape[1])
    by_code = np.argsort(sorted_code, axis=0, kind="stable")
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    rank = np.arange(1, n + 1) - np.repeat(first, size.astype(int))
    within[by_code, columns[None, :]] = rank[:, None]
    squares = np.cumsum((2 * within - 1) / size[sorted_code], axis=0)[:-1]
    j = np.arange(1, n, dtype=np.float64)[:, None]
    A2: Float = ((n * squares - j**2) / (j * (n - j))).sum(axis=0)
    return (A2 - (k - 1)) / _sigma(size)


def _sigma(size: Float) -> float:
    """Standard deviation of A2 under the null hypothesis, equation 4 of the same paper."""
    n, k = int(size.sum()), len(size)
    H = float((1 / size).sum())
    harmonic = 1 / np.arange(1, n)
    h = float(harmonic.sum())
    # g = sum over i < j of 1 / ((n - i) j)
    g = float((np.cumsum(harmonic[::-1])[:-1] * (1 / np.arange(2, n))).sum())
    a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * H
    b = (2 * g - 4) * k**2 + 8 * h * k + (2 * g - 14 * h - 4) * H - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * k**2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * H + 4 * h
    d = (2 * h + 6) * k**2 - 4 * h * k
    variance = (a * n**3 + b * n**2 + c * n + d) / ((n - 1.0) * (n - 2) * (n - 3))
    return float(np.sqrt(variance))


def f_test(between: Float, error: Float, df1: int, df2: int) -> Float:
    """P values (p,) of the F test of two sums of squares; NaN without degrees of freedom."""
    if df1 < 1 or df2 < 1:
        return np.full(len(between), np.nan)
    p: Float = fdtrc(df1, df2, between / df1 / (error / df2))
    return p

"""The coordinator's half: pooled least squares from summed moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.errors import DesignError, listed
from motet.schema import Schema

Float = NDArray[np.float64]

RANK_TOLERANCE = 1e-10
"""Smallest eigenvalue of the covariates' within-batch correlation that counts as full rank."""

RESIDUAL_TOLERANCE = 1e-13
"""A residual share below this is rounding: the covariates explain the feature completely."""


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """What all sites get.

    Attributes
    ----------
    alpha : (p,) float64
        Grand mean: the batch intercepts weighted by their people, native units.
    beta : (q, p) float64
        Covariate effects, native units per unit of the covariate.
    var_pooled : (p,) float64
        Residual variance with divisor N (not N - K - q), native units squared.
    """

    alpha: Float
    beta: Float
    var_pooled: Float


def pooled(
    *,
    n: Float,
    sum_y: Float,
    sum_w: Float,
    ww: Float,
    wy: Float,
    yy: Float,
    batches: int,
    schema: Schema,
) -> Estimates:
    """Grand mean, covariate effects and residual variance from sums over all batches.

    Fortin et al. 2017, the standardization step, written for within-batch moments.

    Parameters
    ----------
    n : () float64
        People.
    sum_y, yy : (p,) float64
    sum_w : (q,) float64
    ww : (q, q) float64
    wy : (q, p) float64
    batches : int
        Batches with anybody in them.
    schema : Schema
        Names the covariates in errors.

    Raises
    ------
    DesignError
        When the covariates are collinear or confounded with the batches, or people are too few.
    """
    check_people(float(n), batches, schema)
    beta = solve(ww, wy, schema)
    residual = residual_ss(yy, wy, ww, beta)
    return Estimates(alpha=(sum_y - sum_w @ beta) / n, beta=beta, var_pooled=residual / n)


def residual_ss(yy: Float, wy: Float, ww: Float, beta: Float) -> Float:
    """Residual sum of squares (p,) of centred moments, given any `beta`; 0 where it is rounding.

    Parameters
    ----------
    yy : (p,)
    wy : (q, p)
    ww : (q, q)
    beta : (q, p)
    """
    residual = yy - 2.0 * (beta * wy).sum(axis=0) + (beta * (ww @ beta)).sum(axis=0)
    size = yy + (beta * (ww @ beta)).sum(axis=0)
    return np.where(residual > RESIDUAL_TOLERANCE * size, residual, 0.0)


def check_people(n: float, batches: int, schema: Schema) -> None:
    """Refuse a study with no residual degree of freedom."""
    needed = batches + len(schema.columns)
    if n <= needed:
        raise DesignError(
            f"{n:.0f} people are too few for {batches} batches and "
            f"{len(schema.columns)} covariate columns: at least {needed + 1} are needed."
        )


def solve(ww: Float, wy: Float, schema: Schema) -> Float:
    """Solve ``ww beta = wy`` after a rank check that names the covariates at fault."""
    if not len(ww):
        return np.zeros_like(wy)
    scale = np.sqrt(np.diag(ww))
    flat = scale == 0
    if flat.any():
        raise confounded([c for c, f in zip(schema.columns, flat, strict=True) if f], schema)
    correlation = ww / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(correlation)
    if values[0] < RANK_TOLERANCE:
        involved = np.abs(vectors[:, 0]) > 1e-3
        names = [c for c, used in zip(schema.columns, involved, strict=True) if used]
        raise DesignError(
            f"The covariate columns {listed(names)} are collinear within batches: one is a "
            "combination of the others and of the batches.",
            do="Leave one of them out; of a spline, a knot.",
            column=names[0],
        )
    return np.asarray(np.linalg.solve(correlation, wy / scale[:, None]) / scale[:, None])


def confounded(columns: list[str], schema: Schema) -> DesignError:
    """The error for design columns that are constant within every batch."""
    covariate = next(c for c in schema.covariates if columns[0] in c.columns)
    name, level = covariate.name, columns[0].removeprefix(f"{covariate.name}=")
    if covariate.kind == "categorical":
        at = dict(zip(covariate.levels, covariate.sites_with_level, strict=False)).get(level, ())
        what = (
            f"Among the people of the fit, no batch has '{level}' of '{name}' (at {listed(at)}) "
            "beside another level: it is confounded with site, or everybody with it is held out."
        )
    else:
        what = (
            f"'{columns[0]}' is constant within every batch ({listed(schema.batches)}): it is "
            "constant overall or confounded with site."
        )
    return DesignError(
        f"{what} Its effect cannot be told from the scanner's.",
        do=f"Leave '{name}' out, or add sites where it varies within a batch.",
        column=name,
    )

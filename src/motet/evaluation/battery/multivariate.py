"""All features at once: Pillai's trace and the silhouette of the batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc  # that of scipy.stats.f.sf, without a second of imports

from motet.evaluation.battery.batch_effect import Judged, filled_residuals
from motet.evaluation.battery.design import Design
from motet.evaluation.battery.draws import middle
from motet.evaluation.battery.sample import Float
from motet.evaluation.result import Metric, Reading

PER_COMPONENT = 5
"""Degrees of freedom of the error for every principal component that MANOVA takes in."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """One version on one group of people.

    Attributes
    ----------
    components : int
        Principal components behind Pillai's trace.
    pillai, p : float
        The trace, and its p value.
    silhouette : float
    null_pillai, null_silhouette : (permutations,) float64
        With the batches of people shuffled.
    """

    components: int
    pillai: float
    p: float
    silhouette: float
    null_pillai: Float
    null_silhouette: Float


def spread(X: Float, group: Judged) -> Spread | None:
    """Judge (n, p) values, NaN where missing, on the people of `group`."""
    E = filled_residuals(X[group.rows], group.design)
    sd = E.std(axis=0)
    E = E[:, sd > 0] / sd[sd > 0]
    if not E.shape[1]:
        return None
    U = components(E, group.design)
    trace = pillai(U, group.design)
    distance = distances(E)
    batch = group.design.batch
    null_pillai, null_silhouette = [], []
    for order in group.shuffled:
        null_pillai.append(pillai(U, Design(batch=batch[order], W=group.design.W)))
        null_silhouette.append(silhouette(distance, batch[order]))
    return Spread(
        components=U.shape[1],
        pillai=trace,
        p=pillai_p(trace, U.shape[1], group.design),
        silhouette=silhouette(distance, batch),
        null_pillai=np.array(null_pillai),
        null_silhouette=np.array(null_silhouette),
    )


def components(E: Float, design: Design) -> Float:
    """Principal components of residuals (n, p), each of length 1, (n, d).

    All of them where the people allow it, else the first: one for `PER_COMPONENT` degrees of
    freedom. They are chosen by the total sum of squares, in which batches and error are one, so
    that under the null hypothesis Pillai's trace keeps its distribution.
    """
    values, U = np.linalg.eigh(E @ E.T)
    d = int((values > values[-1] * 1e-10).sum())
    d = min(d, max(1, design.df2 // PER_COMPONENT))
    return U[:, ::-1][:, :d]


def pillai(U: Float, design: Design) -> float:
    """Pillai's trace tr(H (H + E)^-1) of the batches after the covariates (Pillai 1955).

    The columns of U are orthonormal and free of covariates, so H + E is the identity.
    """
    return float(((design.batches.T @ U) ** 2).sum())


def pillai_p(trace: float, d: int, design: Design) -> float:
    """P value of the trace by the usual F approximation, exact for d = 1 or one contrast."""
    s = min(d, design.df1)
    m = (abs(d - design.df1) - 1) / 2
    r = (design.df2 - d - 1) / 2
    a, b = s * (2 * m + s + 1), s * (2 * r + s + 1)
    if trace >= s:
        return 0.0
    return float(fdtrc(a, b, (trace / a) / ((s - trace) / b)))


def distances(E: Float) -> Float:
    """Euclidean distances of the rows, (n, n)."""
    square = (E**2).sum(axis=1)
    squares: Float = np.maximum(square[:, None] + square[None, :] - 2 * E @ E.T, 0.0)
    np.fill_diagonal(squares, 0.0)
    return np.sqrt(squares)


def silhouette(distance: Float, batch: np.ndarray[tuple[int], np.dtype[np.intp]]) -> float:
    """Mean silhouette of the batches (Rousseeuw 1987); 0 for a person alone in a batch.

    As scikit-learn's, whose checks of the (n, n) distances would take most of the time of a band.
    """
    _, code, size = np.unique(batch, return_inverse=True, return_counts=True)
    member = (code[:, None] == np.arange(len(size))[None, :]).astype(np.float64)
    total = distance @ member
    own = np.arange(len(code)), code
    a = total[own] / np.maximum(size[code] - 1, 1)
    others = total / size
    others[own] = np.inf
    b = others.min(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        s = np.where(size[code] > 1, (b - a) / np.maximum(a, b), 0.0)
    return float(np.nan_to_num(s).mean())


def spread_metrics(found: Mapping[str, Sequence[Spread]], groups: Sequence[Judged]) -> list[Metric]:
    """Pillai's trace, its p value and the silhouette, each the mean over groups of people."""
    n = sum(len(np.unique(group.person)) for group in groups)
    used = sorted({part.components for parts in found.values() for part in parts})
    of = f"{used[0]}" if len(used) == 1 else f"{used[0]} to {used[-1]}"
    pillais, ps, silhouettes = {}, {}, {}
    for version, parts in found.items():
        pillais[version] = Reading(
            value=float(np.mean([part.pillai for part in parts])),
            band=middle(np.mean([part.null_pillai for part in parts], axis=0)),
            n=n,
        )
        ps[version] = Reading(value=float(np.mean([part.p for part in parts])), n=n)
        silhouettes[version] = Reading(
            value=float(np.mean([part.silhouette for part in parts])),
            band=middle(np.mean([part.null_silhouette for part in parts], axis=0)),
            n=n,
        )
    return [
        Metric(
            name="manova_pillai",
            title=f"MANOVA of batches given covariates, Pillai's trace ({of} principal components)",
            aim="site_effect",
            better="lower",
            band_from="permutation",
            readings=pillais,
        ),
        Metric(
            name="manova_p",
            title="MANOVA of batches given covariates, p value",
            aim="site_effect",
            better="higher",
            readings=ps,
        ),
        Metric(
            name="silhouette",
            title="Silhouette of the batches",
            aim="site_effect",
            better="lower",
            band_from="permutation",
            readings=silhouettes,
        ),
    ]

"""How many features still differ between batches, given covariates and columns of biology.

The level of each test is what it says. F is exact. Kruskal-Wallis, Brown-Forsythe and
Anderson-Darling are not at 5 % for residuals, small batches, or covariates that differ between
batches; so their p values are ranks among features of normal noise that go through the same steps
with the same batches and covariates. The band comes from the features themselves, since these are
correlated: residuals of batches and covariates change people, whole rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from motet.evaluation.battery.design import Design
from motet.evaluation.battery.draws import middle, shuffles
from motet.evaluation.battery.feature_tests import anderson, anova, kruskal, levene
from motet.evaluation.battery.sample import Float, Int, Sample
from motet.evaluation.features import chunks, patterns
from motet.evaluation.result import Metric, Reading
from motet.site import draw

NOISE = 2000
"""Features of noise behind the p values."""
BAND = 128
"""Features behind a band at most, evenly spaced: it is their correlation that makes it wide."""

Test = Callable[[Float, Design], Float]


def _minus_anderson(E: Float, design: Design) -> Float:
    """Small where batches differ, as a p value is."""
    return -anderson(E, design)


TESTS: Mapping[str, tuple[str, Test]] = {
    "anova": ("ANOVA", anova),
    "kruskal": ("Kruskal-Wallis", kruskal),
    "levene": ("Levene about medians (Brown-Forsythe)", levene),
    "anderson_darling": ("Anderson-Darling", _minus_anderson),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """People harmonized alike, on whom features are tested, with what all versions share.

    Attributes
    ----------
    rows : (m,) int
        Rows of the sample; their order is drawn, and breaks ties.
    split : int
        Number of the split whose fit harmonized them.
    person : (m,) int
    design : Design
    noise : dict of str to (NOISE,) float64
        Test -> its statistic for features of noise, sorted.
    shuffled : (permutations, m) int
    """

    rows: Int
    split: int
    person: Int
    design: Design
    noise: Mapping[str, Float]
    shuffled: Int


def judged(rows: Int, sample: Sample, *, split: int, permutations: int, seed: int) -> Judged | None:
    """Prepare the tests on some rows of a sample; None where the people are too few."""
    rows = rows[draw(seed, "ties", "").permutation(len(rows))]
    person = sample.person[rows]
    design = Design(batch=sample.batch[rows], W=sample.W[rows])
    if len(rows) < 4 or design.df1 < 1 or design.df2 < 2:
        return None
    noise = draw(seed, "noise", "").standard_normal((len(rows), NOISE))
    E = design.residuals(noise)
    return Judged(
        rows=rows,
        split=split,
        person=person,
        design=design,
        noise={name: np.sort(test(E, design)) for name, (_, test) in TESTS.items()},
        shuffled=shuffles(person, permutations, seed=seed, purpose="feature band"),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What the tests say of one version on one group of people.

    Attributes
    ----------
    p : dict of str to (p,) float64
        Test -> p values, NaN where people are too few.
    eta2 : (p,) float64
        Partial eta squared of the batches.
    r2 : (p,) float64
        Partial R squared of covariates and columns of biology after the batches.
    null_shares : dict of str to (permutations,) float64
    null_eta2 : (permutations,) float64
        Its median over features.
    """

    p: Mapping[str, Float]
    eta2: Float
    r2: Float
    null_shares: Mapping[str, Float]
    null_eta2: Float

    @property
    def shares(self) -> dict[str, float]:
        """Test -> share of features below 0.05."""
        return _shares(self.p)


def find(X: Float, group: Judged) -> Found | None:
    """Test every column of X (n, p), NaN where missing, on the people of `group`."""
    Y = X[group.rows]
    p = {name: np.full(Y.shape[1], np.nan) for name in TESTS}
    eta2, r2 = np.full(Y.shape[1], np.nan), np.full(Y.shape[1], np.nan)
    for columns, seen in patterns(Y):
        design = group.design if seen.all() else group.design.part(np.flatnonzero(seen))
        if seen.sum() < 4 or design.df1 < 1 or design.df2 < 2:
            continue
        for part in chunks(len(columns)):
            some = columns[part]
            values = Y[np.ix_(seen, some)]
            E = design.residuals(values)
            for name, found in _p_values(E, design, group).items():
                p[name][some] = found
            between, error = design.between(E)
            eta2[some] = between / (between + error)
            r2[some] = _covariates_r2(values, error, design)
    known = np.isfinite(p["anova"])
    if not known.any():
        return None
    null_shares, null_eta2 = _null(Y[:, known], group)
    return Found(p=p, eta2=eta2, r2=r2, null_shares=null_shares, null_eta2=null_eta2)


def _p_values(E: Float, design: Design, group: Judged) -> dict[str, Float]:
    """F as it is; the others by rank among the features of noise."""
    found = {}
    for name, (_, test) in TESTS.items():
        statistic, noise = test(E, design), group.noise[name]
        if name != "anova":
            below = np.searchsorted(noise, statistic, side="right")
            rank = (1 + below) / (len(noise) + 1)
            statistic = np.where(np.isfinite(statistic) & np.isfinite(noise).all(), rank, np.nan)
        found[name] = statistic
    return found


def _shares(p: Mapping[str, Float]) -> dict[str, float]:
    known = {name: values[np.isfinite(values)] for name, values in p.items()}
    return {name: float(np.mean(v < 0.05)) for name, v in known.items() if len(v)}


def _covariates_r2(Y: Float, error: Float, design: Design) -> Float:
    batches_only = Design(batch=design.batch, W=np.zeros((len(Y), 0)))
    _, left = batches_only.between(batches_only.residuals(Y))
    kept: Float = np.maximum(left - error, 0.0) / left
    return kept


def _null(Y: Float, group: Judged) -> tuple[dict[str, Float], Float]:
    """Shares and median eta squared when residuals change people."""
    design = group.design
    # A missing cell counts as the mean that covariates and batch expect: its residual is 0.
    residuals = filled_residuals(some_features(Y), design, design.errors)
    shares: dict[str, list[float]] = {}
    eta2 = []
    for order in group.shuffled:
        E = design.residuals(residuals[order])
        for name, share in _shares(_p_values(E, design, group)).items():
            shares.setdefault(name, []).append(share)
        between, error = design.between(E)
        eta2.append(float(np.median(between / (between + error))))
    return {name: np.array(values) for name, values in shares.items()}, np.array(eta2)


def some_features(Y: Float) -> Float:
    """The columns of Y (n, p) behind a band: `BAND` at most, evenly spaced."""
    p = Y.shape[1]
    return Y[:, np.unique(np.linspace(0, p - 1, min(p, BAND)).astype(int))]


def filled_residuals(
    Y: Float, design: Design, more: Callable[[Float], Float] = lambda E: E
) -> Float:
    """Residuals of (n, p) values with 0 in the place of missing cells."""
    seen = np.isfinite(Y)
    mean = np.nansum(Y, axis=0) / np.maximum(seen.sum(axis=0), 1)
    E = np.where(seen, Y - mean, 0.0)
    return np.where(seen, more(design.residuals(E)), 0.0)


def batch_metrics(
    found: Mapping[str, Sequence[Found]], groups: Sequence[Judged], *, columns: int
) -> list[Metric]:
    """Shares and effect sizes, each the mean over groups of people.

    Parameters
    ----------
    found : mapping of Version to sequence of Found
        One for every group.
    groups : sequence of Judged
    columns : int
        Number of covariates and columns of biology.
    """
    n = sum(len(np.unique(group.person)) for group in groups)
    metrics = []
    for name, (title, _) in TESTS.items():
        readings = {
            version: Reading(
                value=float(np.mean([part.shares[name] for part in parts])),
                band=middle(np.mean([part.null_shares[name] for part in parts], axis=0)),
                n=n,
            )
            for version, parts in found.items()
            if all(name in part.shares for part in parts)
        }
        metrics.append(
            Metric(
                name=f"{name}_share",
                title=f"Share of features with p < 0.05, {title}",
                aim="site_effect",
                better="chance",
                chance=0.05,
                band_from="permutation",
                readings=readings,
            )
        )
    eta2 = {
        version: Reading(
            value=float(np.mean([np.nanmedian(part.eta2) for part in parts])),
            band=middle(np.mean([part.null_eta2 for part in parts], axis=0)),
            n=n,
        )
        for version, parts in found.items()
    }
    metrics.append(
        Metric(
            name="batch_eta2",
            title="Partial eta squared of the batches, median over features",
            aim="site_effect",
            better="lower",
            band_from="permutation",
            readings=eta2,
        )
    )
    if columns:
        r2 = {
            version: Reading(value=float(np.mean([np.nanmedian(f.r2) for f in parts])), n=n)
            for version, parts in found.items()
        }
        metrics.append(
            Metric(
                name="covariates_r2",
                title="Partial R squared of covariates and biology, median over features",
                aim="biology",
                better="raw",
                readings=r2,
            )
        )
    return [metric for metric in metrics if metric.readings]

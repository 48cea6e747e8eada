"""Every test of a feature beside scipy's, and at the level that it claims."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from evaluation.battery.made_up import Consortium, consortium
from motet.evaluation.battery.batch_effect import Judged, find, judged
from motet.evaluation.battery.design import Design
from motet.evaluation.battery.feature_tests import anderson, anova, kruskal, levene

SIZES = (5, 9, 20, 2)


def uneven(p: int, q: int = 0, seed: int = 0) -> tuple[np.ndarray, Design, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    batch = rng.permutation(np.repeat(np.arange(4), SIZES))
    design = Design(batch=batch, W=rng.normal(size=(36, q)))
    return rng.normal(size=(36, p)), design, [np.flatnonzero(batch == k) for k in range(4)]


def test_equal_scipy_without_covariates() -> None:
    """Catches wrong degrees of freedom, a mean for a median, and a wrong variance of A2."""
    Y, design, groups = uneven(6)
    E = design.residuals(Y)
    for test, reference in (
        (anova, scipy.stats.f_oneway),
        (kruskal, scipy.stats.kruskal),
        (levene, lambda *g: scipy.stats.levene(*g, center="median")),
    ):
        wanted = [reference(*[y[g] for g in groups]).pvalue for y in Y.T]
        assert test(E, design) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.filterwarnings("ignore:p-value", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_anderson_darling_equals_scipy() -> None:
    """Catches a running sum that forgets how large a sample is."""
    Y, design, groups = uneven(6)
    found = anderson(design.residuals(Y), design)
    wanted = [
        scipy.stats.anderson_ksamp([y[g] for g in groups], variant="right").statistic for y in Y.T
    ]
    assert found == pytest.approx(wanted, rel=1e-9)


def test_kruskal_with_ties_equals_scipy() -> None:
    """Catches ranks without the correction for ties: volumes in whole voxels have many."""
    Y, design, groups = uneven(4)
    Y = np.round(Y)
    wanted = [scipy.stats.kruskal(*[y[g] for g in groups]).pvalue for y in Y.T]
    assert kruskal(design.residuals(Y), design) == pytest.approx(wanted, rel=1e-9)


def test_anova_given_covariates_equals_least_squares() -> None:
    """Catches batches tested before the covariates, or residuals that lost a degree of freedom."""
    Y, design, _ = uneven(5, q=2)
    member = (design.batch[:, None] == np.arange(4)).astype(float)

    def rss(X: np.ndarray, y: np.ndarray) -> float:
        return float(((y - X @ np.linalg.lstsq(X, y, rcond=None)[0]) ** 2).sum())

    wanted = []
    for y in Y.T:
        full = rss(np.hstack([member, design.W]), y)
        reduced = rss(np.hstack([np.ones((36, 1)), design.W]), y)
        wanted.append(scipy.stats.f.sf((reduced - full) / 3 / (full / 30), 3, 30))
    assert anova(design.residuals(Y), design) == pytest.approx(wanted, rel=1e-9)


def group_of(made: Consortium, permutations: int = 20) -> Judged:
    sample = made.sample()
    found = judged(
        np.arange(len(sample)), sample, split=0, permutations=permutations, seed=made.seed
    )
    assert found is not None
    return found


@pytest.mark.parametrize("confounded", [0.0, 1.5])
def test_level_is_five_percent(confounded: float) -> None:
    """Catches p values that are not what they say: with batches of two and three people, and
    hospitals of old people, textbook Levene finds 2 %, residuals hide half of a site effect."""
    made = consortium((2, 3, 5, 4, 20, 3, 12), confounded=confounded)
    group = group_of(made)
    noise = np.random.default_rng(5).standard_normal((len(made.values), 3000))
    noise += 0.1 * made.sample().W[:, :1]
    found = find(noise, group)
    assert found is not None
    for name, share in found.shares.items():
        assert share == pytest.approx(0.05, abs=0.02), name


def test_planted_differences_are_found() -> None:
    """Catches a test that finds nothing, or Levene that finds means and ANOVA that finds spread."""
    made = consortium((30, 30, 30), seed=2)
    group, batch = group_of(made), made.sample().batch
    noise = np.random.default_rng(0).standard_normal((90, 200))
    moved = find(noise + 1.2 * (batch == 1)[:, None], group)
    spread = find(noise * (1.0 + 1.5 * (batch == 1)[:, None]), group)
    assert moved is not None
    assert spread is not None
    for name in ("anova", "kruskal", "anderson_darling"):
        assert moved.shares[name] > 0.9
    assert moved.shares["levene"] < 0.12
    assert spread.shares["levene"] > 0.9
    assert spread.shares["anova"] < 0.15


def test_missing_cells_leave_the_others() -> None:
    """Catches a feature that is dropped, or filled, because somebody has no value."""
    made = consortium((20, 25), p=3, seed=3)
    group, sample = group_of(made), made.sample()
    Y = np.random.default_rng(1).standard_normal((45, 3))
    Y[[2, 7, 30], 1] = np.nan
    found = find(Y, group)
    assert found is not None
    seen = np.isfinite(Y[:, 1])
    design = Design(batch=sample.batch[seen], W=sample.W[seen])
    wanted = anova(design.residuals(Y[seen][:, 1:2]), design)
    assert found.p["anova"][1] == pytest.approx(wanted[0], rel=1e-9)
    assert np.isfinite(found.p["levene"]).all()


def test_band_covers_correlated_features() -> None:
    """Catches a binomial band: one factor behind all features makes their share swing far more."""
    made = consortium((20, 20, 20), seed=4)
    group = group_of(made, permutations=24)
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(16):
        found = find(rng.standard_normal((60, 8)) + rng.standard_normal((60, 1)), group)
        assert found is not None
        null = found.null_shares["anova"]
        inside += null.min() <= found.shares["anova"] <= null.max()
    assert inside >= 13
    many = find(
        rng.standard_normal((60, 8)) + 3 * rng.standard_normal((60, 1)), group_of(made, 200)
    )
    assert many is not None
    shares = many.null_shares["anova"]
    assert shares.mean() == pytest.approx(0.05, abs=0.04)
    assert shares.std() > 1.5 * np.sqrt(0.05 * 0.95 / 8)

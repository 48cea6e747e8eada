"""Pillai's trace and the silhouette beside what they reduce to."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import silhouette_score

from evaluation.battery.made_up import consortium
from motet.evaluation.battery.batch_effect import judged
from motet.evaluation.battery.design import Design
from motet.evaluation.battery.feature_tests import anova
from motet.evaluation.battery.multivariate import (
    components,
    distances,
    pillai,
    pillai_p,
    silhouette,
    spread,
)


def test_two_batches_are_hotelling() -> None:
    """Catches a wrong F: for two batches Pillai's p is that of Hotelling's T2, exactly."""
    rng = np.random.default_rng(0)
    batch, Y = np.repeat([0, 1], [25, 35]), rng.normal(size=(60, 3))
    Y[batch == 1, 0] += 0.5
    design = Design(batch=batch, W=np.zeros((60, 0)))
    U = components(design.residuals(Y), design)
    assert U.shape[1] == 3
    a, b = Y[batch == 0], Y[batch == 1]
    S = (24 * np.cov(a.T) + 34 * np.cov(b.T)) / 58
    d = a.mean(axis=0) - b.mean(axis=0)
    T2 = 25 * 35 / 60 * d @ np.linalg.solve(S, d)
    wanted = scipy.stats.f.sf((60 - 3 - 1) / (58 * 3) * T2, 3, 56)
    assert pillai_p(pillai(U, design), 3, design) == pytest.approx(wanted, rel=1e-9)


def test_one_feature_is_anova() -> None:
    """Catches covariates that the trace forgets."""
    rng = np.random.default_rng(1)
    design = Design(batch=np.repeat([0, 1, 2], 15), W=rng.normal(size=(45, 2)))
    E = design.residuals(rng.normal(size=(45, 1)))
    U = components(E, design)
    assert pillai_p(pillai(U, design), 1, design) == pytest.approx(anova(E, design)[0], rel=1e-9)


def test_trace_equals_the_definition() -> None:
    """Catches a trace that is right only for one direction: tr(H (H + E)^-1) from its matrices."""
    rng = np.random.default_rng(2)
    batch, Y = np.repeat([0, 1, 2, 3], 15), rng.normal(size=(60, 4))
    design = Design(batch=batch, W=np.zeros((60, 0)))
    total = np.cov(Y.T) * 59
    within = sum(np.cov(Y[batch == k].T) * 14 for k in range(4))
    wanted = np.trace((total - within) @ np.linalg.inv(total))
    U = components(design.residuals(Y), design)
    assert pillai(U, design) == pytest.approx(wanted, rel=1e-9)


def test_more_features_than_people_keeps_the_level() -> None:
    """Catches components that are chosen by the batches: they would always find a difference."""
    rng = np.random.default_rng(3)
    design = Design(batch=np.repeat([0, 1, 2], 12), W=rng.normal(size=(36, 1)))
    p = []
    for _ in range(400):
        U = components(design.residuals(rng.normal(size=(36, 80))), design)
        p.append(pillai_p(pillai(U, design), U.shape[1], design))
    assert U.shape[1] == 6
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_silhouette_equals_scikit_learn() -> None:
    """Catches somebody alone in a batch, and one's own distance counted among the neighbours'."""
    rng = np.random.default_rng(4)
    batch = rng.permutation(np.repeat([0, 1, 2, 3], [10, 7, 1, 12]))
    Y = rng.normal(size=(30, 4)) + batch[:, None]
    assert silhouette(distances(Y), batch) == pytest.approx(silhouette_score(Y, batch), rel=1e-9)


def test_planted_difference_leaves_the_band() -> None:
    """Catches a band around the value instead of around nothing."""
    made = consortium((20, 20, 20), p=30, shift=1.0)
    sample = made.sample()
    group = judged(np.arange(60), sample, split=0, permutations=40, seed=1)
    assert group is not None
    raw = spread(sample.stack(made.at_sites(made.values)), group)
    clean = spread(sample.stack(made.at_sites(made.truth)), group)
    assert raw is not None
    assert clean is not None
    for name in ("pillai", "silhouette"):
        null = getattr(raw, f"null_{name}")
        assert getattr(raw, name) > null.max()
        null = getattr(clean, f"null_{name}")
        assert null.min() <= getattr(clean, name) <= null.max()
    assert raw.p < 1e-3 < clean.p

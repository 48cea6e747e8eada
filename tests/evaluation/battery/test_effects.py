"""Effect sizes beside least squares, and effects that a harmonization makes up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evaluation.battery.made_up import Consortium, consortium
from motet.evaluation.battery import Permuted
from motet.evaluation.battery.batch_effect import Judged, judged
from motet.evaluation.battery.effects import standardized_effects
from motet.evaluation.battery.invented import invented_metrics
from motet.evaluation.battery.sample import Sample
from motet.evaluation.kept import kept_metrics


def setting(made: Consortium) -> tuple[Sample, Judged]:
    sample = made.sample()
    group = judged(np.arange(len(sample)), sample, split=0, permutations=60, seed=1)
    assert group is not None
    return sample, group


def test_equal_least_squares() -> None:
    """Catches effects without the other columns or the batches, and another scale."""
    made = consortium((20, 30), p=4, confounded=0.5)
    sample, group = setting(made)
    X = sample.stack(made.at_sites(made.values))
    X[3, 1] = np.nan
    found = standardized_effects(X, group, sample)
    age, male = sample.columns["age"], (sample.columns["sex"] == "M").astype(float)
    for j in range(4):
        seen = np.isfinite(X[:, j])
        M = np.column_stack([sample.batch == 0, sample.batch == 1, age, male]).astype(float)[seen]
        beta, rss, *_ = np.linalg.lstsq(M, X[seen, j], rcond=None)
        sd = np.sqrt(rss[0] / (seen.sum() - 4))
        assert found["age"][j] == pytest.approx(beta[2] * age.std() / sd, rel=1e-9)
        assert found["sex=M"][j] == pytest.approx(beta[3] / sd, rel=1e-9)


def test_column_that_adds_nothing_has_no_effect() -> None:
    """Catches a diagnosis that one scanner alone has, given the effect of that scanner."""
    made = consortium((20, 30, 25), p=3)
    covariates = made.covariates.assign(dx=np.where(made.batch == "b0", "AD", "CN"))
    made = replace(made, covariates=covariates).with_settings(biology=("dx",))
    sample, group = setting(made)
    found = standardized_effects(sample.stack(made.at_sites(made.values)), group, sample)
    assert np.isnan(found["dx=CN"]).all()
    assert np.isfinite(found["age"]).all()


def test_kept_and_slope() -> None:
    """Catches a shrinkage of all effects that a correlation alone does not see."""
    made = consortium()
    sample, group = setting(made)
    X = sample.stack(made.at_sites(made.values))
    raw = standardized_effects(X, group, sample)
    effects = {"raw": raw, "harmonized": {name: 0.5 * value for name, value in raw.items()}}
    metrics = {m.name: m for m in kept_metrics(effects, sample.covariates, n=80)}
    assert metrics["effect_kept_age"].readings["harmonized"].value == pytest.approx(1.0)
    assert metrics["effect_slope_sex"].readings["harmonized"].value == pytest.approx(0.5)
    assert metrics["effect_slope_sex"].readings["raw"].value == pytest.approx(1.0)


def permuted(made: Consortium, invented: float, seed: int) -> Permuted:
    """The study again with ages shuffled, by a harmonization that may add them to what it gives."""
    age = np.random.default_rng(seed).permutation(made.covariates["age"].to_numpy())
    values = made.truth + invented * (age[:, None] - 50) / 10
    return Permuted(
        column="age",
        shuffled=made.at_sites(age),
        values={"harmonized": made.at_sites(values)},
    )


def test_invented_effects_are_found() -> None:
    """Catches a permutation test that never finds anything, and one that always does."""
    made = consortium(p=30)
    sample, group = setting(made)
    raw = sample.stack(made.at_sites(made.values))
    for invented, wanted in ((0.0, True), (0.8, False)):
        (metric,) = invented_metrics(
            [permuted(made, invented, seed) for seed in range(3)],
            raw,
            group,
            sample,
            varies=np.ones(30, dtype=bool),
            seed=1,
        )
        assert metric.name == "invented_effect_share_age"
        assert metric.readings["harmonized"].within_band is wanted
        assert metric.readings["raw"].within_band


def test_band_of_invented_effects_knows_the_correlation() -> None:
    """Catches a binomial band: of features that are nearly one, all have the effect or none."""
    made = consortium((60, 60), p=20)
    factor = np.random.default_rng(0).standard_normal((120, 1))
    made = replace(
        made,
        values=factor + 0.1 * made.truth,
        covariates=pd.DataFrame({"age": np.random.default_rng(1).normal(50, 10, 120)}),
    )
    sample, group = setting(made)
    (metric,) = invented_metrics(
        [permuted(made, 0.0, 0)],
        sample.stack(made.at_sites(made.values)),
        group,
        sample,
        varies=np.ones(20, dtype=bool),
        seed=1,
    )
    band = metric.readings["raw"].band
    assert band is not None
    assert band[0] == 0.0
    assert band[1] > 0.5

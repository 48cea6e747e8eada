"""What predicts age and sex, and that nothing predicts nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from evaluation.battery.made_up import Consortium, consortium
from motet.evaluation.battery.biology import ALPHAS, biology_metrics, predict, targets
from motet.evaluation.battery.draws import shuffles
from motet.evaluation.battery.probes import prepare
from motet.evaluation.battery.sample import Sample
from motet.evaluation.battery.splits import Splits, split
from motet.evaluation.result import Metric


def measured(made: Consortium) -> tuple[dict[str, Metric], Sample, Splits, list[str]]:
    sample = made.sample()
    splits = split(sample, held_out=made.settings.held_out, seed=made.seed)
    X = sample.stack(made.at_sites(made.truth))
    chosen = targets(sample, splits)
    prepared = [[prepare(X, part) for part in parts] for parts in splits.rounds]
    shuffled = shuffles(sample.person, 40, seed=1, purpose="x")
    metrics = {}
    for target in chosen.found:
        read = {"raw": predict(target, prepared, sample, shuffled)}
        for metric in biology_metrics(read, target, sample, shuffled, seed=1):
            metrics[metric.name] = metric
    return metrics, sample, splits, chosen.notes


def test_equals_scikit_learn_on_the_held_out() -> None:
    """Catches predictions of people of the fit, a ridge on raw scales, and swapped levels."""
    made = consortium((40, 40), held_out=0.4)
    metrics, sample, splits, _ = measured(made)
    (part,) = splits.rounds[0]
    X = sample.stack(made.at_sites(made.truth))
    scaler = StandardScaler().fit(X[part.train])
    train, test = scaler.transform(X[part.train]), scaler.transform(X[part.test])
    age = sample.columns["age"]
    said = RidgeCV(alphas=ALPHAS).fit(train, age[part.train]).predict(test)
    assert metrics["r2_age"].readings["raw"].value == pytest.approx(r2_score(age[part.test], said))
    wanted = mean_absolute_error(age[part.test], said)
    assert metrics["mae_age"].readings["raw"].value == pytest.approx(wanted)
    male = sample.columns["sex"] == "M"
    model = LogisticRegression(C=1 / 12, class_weight="balanced").fit(train, male[part.train])
    wanted = roc_auc_score(male[part.test], model.predict_proba(test)[:, 1])
    assert metrics["auc_sex"].readings["raw"].value == pytest.approx(wanted, abs=1e-9)
    for name in ("r2_age", "mae_age", "auc_sex"):
        reading = metrics[name].readings["raw"]
        assert reading.interval is not None
        assert reading.interval[0] < reading.value < reading.interval[1]
        assert reading.within_band is False
        assert reading.n == len(part.test)


@pytest.mark.parametrize("held_out", [0.0, 0.4])
def test_noise_lies_within_the_band(held_out: float) -> None:
    """Catches a band that is not about nothing, and a probe that reads those it was trained on."""
    made = consortium((40, 40), held_out=held_out)
    made = replace(made, truth=np.random.default_rng(8).standard_normal((80, 12)))
    metrics, *_ = measured(made)
    for name in ("r2_age", "mae_age", "auc_sex"):
        assert metrics[name].readings["raw"].within_band, name
    assert metrics["r2_age"].readings["raw"].value < 0.1


def test_three_levels() -> None:
    """Catches one level against the rest, taken for all."""
    made = consortium((40, 40))
    dx = np.array(["AD", "CN", "MCI"])[np.random.default_rng(0).integers(0, 3, 80)]
    truth = np.random.default_rng(1).standard_normal((80, 6))
    truth[:, 0] += 3 * (dx == "AD")
    truth[:, 1] += 3 * (dx == "CN")
    made = replace(made, covariates=pd.DataFrame({"dx": dx}), truth=truth)
    metrics, *_ = measured(made)
    assert metrics["auc_dx"].readings["raw"].value > 0.9


def test_rare_level_is_left_out_by_name() -> None:
    """Catches a level of two people that stops the whole evaluation."""
    made = consortium((30, 30))
    dx = np.array(["AD", "CN"])[np.random.default_rng(0).integers(0, 2, 60)]
    dx[:2] = "XX"
    made = replace(made, covariates=pd.DataFrame({"dx": dx}))
    metrics, _, _, notes = measured(made)
    assert "auc_dx" in metrics
    assert any("XX" in note for note in notes)

"""Probes of batch and biology from sums, beside the same on everybody's rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import Case
from evaluation.dense import ridge_predictions, standardized, taken_for
from evaluation.summed import HELD_OUT, SUMMED, held, judged, of_study
from motet.evaluation.below import below
from motet.evaluation.features import chunks
from motet.evaluation.intervals import explained
from motet.evaluation.predictors import PENALTIES
from motet.evaluation.probes import Projection
from motet.evaluation.result import Metric, Reading
from motet.flower.records import decode


def test_site_probe_equals_a_dense_discriminant() -> None:
    """Catches a discriminant of other people, another shrinkage, or a confusion turned round."""
    study = of_study(n=(40, 36, 44), p=9, seed=8)
    sites, _, found = judged(study)
    train = ~held(study)
    for version, values in (("raw", study.values), ("harmonized", sites.values)):
        said = taken_for(standardized(values, train), study.batch, train)
        share = [(said == b)[(study.batch == b) & ~train].mean() for b in study.batches]
        reading = found.metric("site_accuracy_lda").readings[version]
        assert reading.value == pytest.approx(np.mean(share), abs=1e-12)
        assert reading.n == (~train).sum()
    assert "demographics" not in found.metric("site_accuracy_lda").readings


def test_nothing_of_a_batch_is_sent_on_but_the_discriminant() -> None:
    """Catches weights of age and sex by batch, from which sites solve for the others' means."""
    study = of_study(n=(30, 26, 34, 28, 31), p=7, covariates=("age", "sex"), seed=8)
    told: dict[str, np.ndarray] = {}

    def listen(message: Any, answer: Any) -> Any:
        envelope, body = decode(message.content)
        if envelope.phase == "evaluation_readings":
            told.update(body.arrays)
        return answer()

    _, outcome, _ = judged(study, alter={next(iter(study.tables())): listen})
    by_batch = {name for name, a in told.items() if len(study.batches) in a.shape}
    own = by_batch - set(outcome.shared)
    assert own == {"classes", "discriminant", "discriminant_offset"}
    phase = {phase.name: phase for phase in outcome.plan.evaluation}["evaluation_probes"]
    meaning = {array.name: array.meaning for array in phase.releases}["f_of_batch"]
    assert "go to every site" in meaning


@pytest.mark.parametrize(
    ("version", "said"), [("raw", False), ("demographics", False), ("harmonized", True)]
)
def test_below_chance_is_explained_for_what_a_fit_made(version: str, said: bool) -> None:
    """Catches raw values or ages below the band explained by batches that a fit made equal."""
    low, at = (Reading(value=v, band=(0.4, 0.6), n=9) for v in (0.1, 0.5))
    readings = {"raw": at, "harmonized": at, version: low}
    probe = Metric(
        name="site_accuracy_lda",
        title="A",
        aim="site_effect",
        better="chance",
        chance=0.5,
        readings=readings,
    )
    assert bool(below([probe])) == said


def test_biology_equals_dense_ridge() -> None:
    """Catches ridge on other people or with another penalty, and sums read wrongly."""
    study = of_study(n=(40, 36, 44), p=9, seed=9)
    sites, _, found = judged(study)
    train, read = ~held(study), held(study)
    age = study.covariates["age"].to_numpy()
    male = (study.covariates["sex"] == "M").to_numpy().astype(float)
    for version, values in (("raw", study.values), ("harmonized", sites.values)):
        F = standardized(values, train)
        error = (age - ridge_predictions(F, age, train, len(PENALTIES)))[read]
        r2 = 1 - (error**2).sum() / ((age[read] - age[read].mean()) ** 2).sum()
        assert found.metric("r2_age").readings[version].value == pytest.approx(r2, rel=1e-7)
        mae = found.metric("mae_age").readings[version]
        assert mae.value == pytest.approx(np.abs(error).mean(), rel=1e-7)
        half = 1.959963984540054 * np.abs(error).std(ddof=1) / np.sqrt(read.sum())
        assert mae.interval == pytest.approx((mae.value - half, mae.value + half), rel=1e-6)
        score = ridge_predictions(F, male, train, len(PENALTIES))[read]
        with_it, without = score[male[read] == 1], score[male[read] == 0]
        area = (with_it[:, None] > without[None, :]).mean()
        assert found.metric("auc_sex").readings[version].value == pytest.approx(area, abs=0.01)
    assert any("bins" in note for note in found.notes)


@pytest.mark.parametrize("away", [0.0, 6.0])
def test_interval_of_r2_covers(away: float) -> None:
    """Catches an interval much too narrow or too wide: new draws of people fall into it, also
    where the people read lie far from the mean of the fit, as at an unseen site of old people."""
    inside = 0
    rng = np.random.default_rng(1)
    for _ in range(300):
        t = rng.normal(size=80) + away
        e = rng.normal(scale=0.7, size=80)
        powers = {f"t{k}" if k > 2 else "t" * k: (t**k).sum() for k in (1, 2, 3, 4)}
        errors = {"ee": (e**2).sum(), "e4": (e**4).sum(), "eet": (e**2 * t).sum()}
        reading = explained(80, **errors, **powers, eett=(e**2 * t**2).sum())
        assert reading.interval is not None
        inside += reading.interval[0] < 1 - 0.49 < reading.interval[1]
    assert 0.88 < inside / 300 < 0.99


def test_many_features_are_projected() -> None:
    """Catches a projection that is not orthonormal or differs between sites: the probe fails."""
    rng = np.random.default_rng(10)
    study = of_study(n=(60, 60), p=300, covariates=("age",), seed=10)
    values = rng.normal(size=study.values.shape)
    values[:, :40] += 2.0 * (study.batch == "b1")[:, None]
    _, _, found = judged(replace(study, values=values))
    reading = found.metric("site_accuracy_lda").readings
    assert reading["raw"].value is not None
    assert reading["raw"].value > 0.95
    assert reading["raw"].within_band is False
    again = judged(replace(study, values=values), tables=study_of_two(study, values))[2]
    assert again.metric("site_accuracy_lda").readings["raw"].value == reading["raw"].value


def study_of_two(study: Case, values: np.ndarray) -> Any:
    """The batches at sites of other names, so in another order."""
    return replace(study, values=values).tables({"b0": "z", "b1": "a"})


def test_noise_is_within_the_band() -> None:
    """Catches a probe read on the people that it was trained on: it finds a site in noise."""
    for evaluation in (SUMMED, HELD_OUT):
        outside = 0
        for seed in range(4):
            study = of_study(
                n=(40, 40, 40), p=20, covariates=("age",), seed=seed, evaluation=evaluation
            )
            noise = np.random.default_rng(seed).normal(size=study.values.shape)
            _, _, found = judged(replace(study, values=noise))
            outside += found.metric("site_accuracy_lda").readings["raw"].within_band is False
        assert outside <= 1


@pytest.mark.parametrize("p", [3, 256, 257, 700, 1100])
def test_projection_is_orthonormal(p: int) -> None:
    """Catches columns that overlap or are not of length one: distances would be stretched."""
    projection = Projection(p, seed=3)
    R = np.zeros((1, p, projection.dimensions))
    for columns in chunks(p):
        projection.add(R, np.eye(p)[None, :, columns], columns)
    np.testing.assert_allclose(R[0].T @ R[0], np.eye(min(p, 256)), atol=1e-12)
    again = np.zeros_like(R)
    for columns in chunks(p):
        Projection(p, seed=4).add(again, np.eye(p)[None, :, columns], columns)
    assert (again != R).any() == (p > 256)

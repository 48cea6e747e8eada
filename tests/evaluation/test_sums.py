"""Judgements from sums beside dense computations over everybody's rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.cases import Case, case
from conformance.federation import Federation
from evaluation.dense import dense, ridge_predictions, standardized, taken_for
from motet.agreement import agree
from motet.cohort import in_fit
from motet.config import Evaluation
from motet.evaluation.below import below
from motet.evaluation.features import chunks
from motet.evaluation.intervals import explained
from motet.evaluation.predictors import PENALTIES
from motet.evaluation.probes import Projection
from motet.evaluation.result import Judgement, Metric, Reading
from motet.evaluation.site_effect import site_effect
from motet.flower.records import decode
from motet.harmonizers._template import Template
from motet.plan import build_plan
from motet.registry import Registry
from motet.server import Outcome

SUMMED = {"metrics": "summed"}
HELD_OUT = {"metrics": "summed", "held_out": 0.4}


def judged(study: Case, **options: Any) -> tuple[Federation, Outcome, Judgement]:
    sites = Federation(study, **options)
    outcome = sites.run()
    assert not outcome.missing, sites.errors
    assert outcome.judgement is not None, sites.errors
    return sites, outcome, outcome.judgement


def held(study: Case) -> np.ndarray:
    """Who is held out, (n,) bool."""
    people = study.table(np.arange(len(study.values)), "all").people
    return ~in_fit(people, held_out=study.evaluation.get("held_out", 0.0), seed=study.seed)


def of_study(n: tuple[int, ...] = (30, 26, 34), **options: Any) -> Case:
    evaluation = options.pop("evaluation", HELD_OUT)
    return replace(case(n=n, **options), evaluation=evaluation)


def close(found: np.ndarray, expected: np.ndarray, **tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, **(tolerance or {"rtol": 1e-9, "atol": 1e-12}))


def equal_to_dense(study: Case, found: Judgement, version: str, values: np.ndarray) -> None:
    rows = held(study) if study.evaluation.get("held_out") else np.ones(len(values), dtype=bool)
    expected = dense(study, values, rows)
    for name in ("anova_p", "levene_p", "eta2"):
        close(found.arrays[f"{version}/{name}"], getattr(expected, name))
    for column, effect in expected.effect.items():
        close(found.arrays[f"{version}/effect/{column}"], effect, rtol=1e-8, atol=1e-10)
    for metric, values_of in (("batch_eta2", expected.eta2), ("covariates_r2", expected.r2)):
        if found.has(metric):
            read = found.metric(metric).readings[version].value
            assert read == pytest.approx(np.median(values_of), rel=1e-9)


@pytest.mark.parametrize("covariates", [("age", "sex", "dx"), ("age",), ()])
@pytest.mark.parametrize("evaluation", [SUMMED, HELD_OUT], ids=["all", "held out"])
def test_features_equal_a_dense_computation(
    covariates: tuple[str, ...], evaluation: dict[str, Any]
) -> None:
    """Catches wrong degrees of freedom, sums over other people, and a version read for another."""
    study = of_study(p=7, covariates=covariates, evaluation=evaluation, seed=2)
    sites, _, found = judged(study)
    for version, values in (("raw", study.values), ("harmonized", sites.values)):
        equal_to_dense(study, found, version, values)
    assert found.people == ("held out" if "held_out" in evaluation else "all (fitted on them)")
    assert found.n == (held(study).sum() if "held_out" in evaluation else len(study.values))


def test_missing_cells() -> None:
    """Catches features that lack values being tested on everybody, or left out."""
    study = of_study(p=6, missing=0.08, seed=3)
    sites, _, found = judged(study)
    assert np.isnan(study.values).any()
    for version, values in (("raw", study.values), ("harmonized", sites.values)):
        equal_to_dense(study, found, version, values)


def test_biology_beside_the_covariates() -> None:
    """Catches a column of biology in the method's design, or not in the evaluation's."""
    plain = of_study(p=5, covariates=("age", "sex"), seed=4)
    study = of_study(p=5, seed=4, evaluation={**HELD_OUT, "biology": ("dx",)})
    without, first, _ = judged(plain)
    sites, outcome, found = judged(study)
    assert outcome.plan.schema.columns == ("age", "sex=M")
    assert outcome.plan.params.covariates.keys() == {"age", "sex"}
    for name, array in first.shared.items():
        assert array.tobytes() == outcome.shared[name].tobytes()
    assert sites.values.tobytes() == without.values.tobytes()
    equal_to_dense(study, found, "harmonized", sites.values)
    assert found.has("auc_dx")
    assert found.has("effect_kept_dx")


@pytest.mark.parametrize("held_out", [0.0, 0.3])
def test_equals_site_effect(held_out: float) -> None:
    """Catches a deployed study that would be told other figures than a simulated one."""
    study = of_study(p=30, evaluation={"metrics": "summed", "held_out": held_out}, seed=5)
    sites, outcome, found = judged(study)
    tables = study.tables()
    harmonized = {site: sites.values[table.rows] for site, table in tables.items()}
    pooled = site_effect(tables, harmonized, outcome.plan)
    for version, effect in (("raw", pooled.raw), ("harmonized", pooled.harmonized)):
        for name, value in (
            ("anova_share", effect.share_significant),
            ("batch_eta2", effect.batch_eta2),
            ("covariates_r2", effect.covariates_r2),
        ):
            assert found.metric(name).readings[version].value == pytest.approx(value, abs=1e-9)
    assert (found.n, found.features, found.people) == (pooled.n, pooled.features, pooled.people)


@pytest.mark.parametrize("location", [1e6, -1e8])
def test_large_location(location: float) -> None:
    """Catches squares that are summed before they are centred: volumes are 10^6 mm3."""
    study = of_study(p=5, covariates=("age",), seed=6)
    rng = np.random.default_rng(0)
    values = rng.normal(size=study.values.shape) + 0.3 * (study.batch == "b1")[:, None]
    near, far = (judged(replace(study, values=v))[2] for v in (values, values + location))
    for name in ("eta2", "anova_p", "levene_p"):
        close(far.arrays[f"raw/{name}"], near.arrays[f"raw/{name}"], rtol=1e-5)


def test_perfect_fit_and_constant_feature() -> None:
    """Catches 0 / 0: a feature that the batches explain without a rest, and a constant one."""
    study = of_study(p=4, covariates=("age",), evaluation=SUMMED, seed=7)
    values = study.values.copy()
    values[:, 0] = np.where(study.batch == "b0", 1.1, 2.7)
    values[:, 1] = 4.3
    _, _, found = judged(replace(study, values=values))
    assert found.features == 3
    assert np.isnan(found.arrays["raw/eta2"][1])
    assert found.arrays["raw/eta2"][0] == pytest.approx(1.0)
    assert np.isnan(found.arrays["harmonized/anova_p"][1])


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


def test_a_site_that_fails_alone_is_said() -> None:
    """Catches a floor that is silently raw since the method failed on a site's own people."""
    study = of_study(n=(2, 2, 20, 20), p=3, seed=3, evaluation=SUMMED)
    site_of = {"b0": "x", "b1": "x", "b2": "y", "b3": "y"}
    _, _, found = judged(study, tables=study.tables(site_of))
    assert [note for note in found.notes if "failed on" in note] == [
        "At 1 site with two or more batches the method failed on the site's own people: its "
        "local-only values are its raw ones."
    ]
    enough = of_study(n=(20, 20, 20, 20), p=3, seed=3, evaluation=SUMMED)
    _, _, found = judged(enough, tables=enough.tables(site_of))
    assert not any("failed on" in note for note in found.notes)


def test_sessions_are_not_taken_for_people() -> None:
    """Catches intervals of rows without a word that a person has several."""
    study = of_study(n=(20, 24), p=3, covariates=("age",), seed=3, evaluation=SUMMED)
    assert not any("rows of" in note for note in judged(study)[2].notes)
    tables = {
        site: replace(table, people=np.array([f"sub-{i // 2}" for i in range(len(table))]))
        for site, table in study.tables().items()
    }
    _, _, found = judged(study, tables=tables)
    assert any(note.startswith("44 rows of 22 people") for note in found.notes)


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


@pytest.fixture(scope="module")
def apart() -> tuple[Case, Judgement]:
    """A study with every batch at a site of its own, and its judgement."""
    study = of_study(n=(9, 12, 1, 10), p=4, missing=0.05, seed=11)
    return study, judged(study)[2]


@settings(max_examples=5)
@given(st.data())
def test_any_split_into_sites_says_the_same(
    apart: tuple[Case, Judgement], data: st.DataObject
) -> None:
    """Catches figures that depend on which batches lie together, or on the order of sites."""
    study, one = apart
    names = ["x", "y", "z"]
    site_of = {b: data.draw(st.sampled_from(names), label=b) for b in study.batches[1:]}
    site_of["b0"] = next(n for n in names if n != site_of["b1"])
    _, _, other = judged(study, tables=study.tables(site_of))
    for name, array in one.arrays.items():
        if not name.startswith("local_only"):
            close(other.arrays[name], array, rtol=1e-8, atol=1e-10)
    for metric in one.metrics:
        for version in ("raw", "harmonized"):
            if version in metric.readings:
                here, there = metric.readings[version], other.metric(metric.name).readings[version]
                assert (here.value is None) == (there.value is None), metric.name
                if here.value is not None:
                    assert there.value == pytest.approx(here.value, rel=1e-6, abs=1e-9)


def test_local_only_is_the_method_at_the_site_alone() -> None:
    """Catches local-only values that know the other sites, or that are raw everywhere."""
    study = of_study(n=(20, 24, 18, 22), p=5, seed=12, evaluation=SUMMED)
    site_of = {"b0": "x", "b1": "x", "b2": "y", "b3": "z"}
    _, _, found = judged(study, tables=study.tables(site_of))
    x = np.isin(study.batch, ["b0", "b1"])
    plain = {
        "values": study.values[x],
        "batch": study.batch[x],
        "covariates": study.covariates[x].reset_index(drop=True),
    }
    alone = replace(study, **plain, evaluation={"metrics": "none"})
    sites = Federation(alone)
    sites.run()
    values = study.values.copy()
    values[x] = sites.values
    expected = dense(study, values, np.ones(len(values), dtype=bool))
    close(found.arrays["local_only/eta2"], expected.eta2, rtol=1e-8)
    assert abs(found.arrays["local_only/eta2"] - found.arrays["raw/eta2"]).max() > 0.01


@pytest.mark.parametrize("n", [(12, 1, 10), (3, 2, 2)])
@pytest.mark.parametrize("held_out", [0.0, 0.5, 0.9])
def test_few_people(n: tuple[int, ...], held_out: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a division by nothing: a batch of one person, nobody held out of a batch, or all."""
    study = of_study(
        n=n, p=3, covariates=(), seed=13, evaluation={"metrics": "summed", "held_out": held_out}
    )
    registry = Registry()
    registry.register(Template())  # it has no opinion on how few are too few
    monkeypatch.setattr("motet.plan.methods", lambda: registry)
    sites = Federation(replace(study, method="template"))
    with np.errstate(all="raise", under="ignore"):
        outcome = sites.run()
    assert outcome.judgement is not None, sites.errors
    numbers = [r.value for m in outcome.judgement.metrics for r in m.readings.values()]
    assert all(v is None or np.isfinite(v) for v in numbers)


def test_plan_has_the_phases_and_the_hash_covers_them() -> None:
    """Catches an evaluation that nobody consented to."""
    study = of_study(p=4).study
    schema = agree([t.described for t in of_study(p=4).tables().values()])
    plans = {
        m: build_plan(study.model_copy(update={"evaluation": Evaluation(metrics=m)}), schema)
        for m in ("none", "summed", "full")
    }
    assert [phase.name for phase in plans["summed"].evaluation] == [
        "evaluation_people",
        "evaluation_moments",
        "evaluation_probes",
        "evaluation_readings",
    ]
    assert plans["none"].evaluation == ()
    assert plans["none"].hash != plans["summed"].hash == plans["full"].hash
    declared = {release.phase for release in plans["summed"].releases()}
    assert {phase.name for phase in plans["summed"].evaluation} <= declared
    more = replace(schema, biology=(replace(schema.covariates[0], name="iq"),))
    asked = Evaluation(metrics="summed", biology=("iq",))
    other = build_plan(study.model_copy(update={"evaluation": asked}), more)
    assert other.hash != plans["summed"].hash


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

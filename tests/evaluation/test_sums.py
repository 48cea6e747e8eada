"""Judgements from sums beside dense computations over everybody's rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.cases import Case
from conformance.federation import Federation
from evaluation.dense import dense
from evaluation.summed import HELD_OUT, SUMMED, close, equal_to_dense, held, judged, of_study
from motet.agreement import agree
from motet.config import Evaluation
from motet.evaluation.result import Judgement
from motet.evaluation.site_effect import site_effect
from motet.harmonizers._template import Template
from motet.plan import build_plan
from motet.registry import Registry


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
    monkeypatch.setattr("motet.registry.methods", lambda: registry)
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

"""What sums give away of single people, and that a site's policy keeps it.

Every attack succeeds on what leaves under the open policy of a simulation: that is the control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.cases import Case, case
from conformance.direct import direct
from conformance.federation import Federation
from conformance.ledgers import released
from conformance.one_site import DEFAULT, SECRET, sums_of, worker_of
from motet.bids.table import Table
from motet.client.cohorts import apart, marks
from motet.client.counts import counts, groups
from motet.client.policy import OPEN, SitePolicy
from motet.client.spline_support import least_supported
from motet.cohort import in_fit
from motet.errors import PolicyError
from motet.spline import Spline

SITES = ("site-b0", "site-b1", "site-b2")
VICTIM = 4
"""Row of the first site's table."""


def rows_of(study: Case, site: str = "site-b0") -> Table:
    return study.tables()[site]


def with_column(study: Case, name: str, values: np.ndarray) -> Case:
    return replace(study, covariates=study.covariates.assign(**{name: values}))


def one_of_a_site() -> Case:
    return case("combat", n=(1, 30, 30), covariates=())


def two_of_a_site() -> Case:
    return case("combat", n=(2, 30, 30), covariates=())


def one_in_a_level() -> Case:
    study = case("combat", n=(30, 30, 30), covariates=())
    level = np.array(["CN"] * 90, dtype=object)
    for batch, some in (("b0", [VICTIM]), ("b1", range(6)), ("b2", range(9))):
        level[np.flatnonzero(study.batch == batch)[list(some)]] = "rare"
    return with_column(study, "dx", level)


def a_basis_for_one() -> Case:
    study = case("combat", n=(30, 30, 30), covariates=())
    dose = np.random.default_rng(1).normal(0, 1e-3, 90)
    dose[np.flatnonzero(study.batch == "b0")[VICTIM]] = 1e3
    return with_column(study, "dose", dose)


def read_one(sums: Mapping[str, Any]) -> np.ndarray:
    assert sums["people"] == 1
    return np.asarray(sums["sum_y"])


def read_two(sums: Mapping[str, Any]) -> np.ndarray:
    """Sum and squares about the mean of two are both values, larger and smaller."""
    assert sums["people"] == 2
    return np.asarray(sums["sum_y"] / 2 + np.sqrt(sums["yy"] / 2))


def read_by_column(sums: Mapping[str, Any]) -> np.ndarray:
    """The centred product with a column that one person alone has is that person's distance."""
    n, w = int(sums["people"]), float(sums["sum_w"][0])
    mean = sums["sum_y"] / n
    return np.asarray(mean + sums["wy"][0] / w)


CURVE = Spline(knots=(40, 80, 84), bounds=(18, 90))


def knots_about_one() -> Case:
    study = case("combat", n=(30, 30, 30), covariates=("age",))
    here = np.flatnonzero(study.batch == "b0")
    ages = np.linspace(20, 88, 90)
    ages[here] = np.linspace(20, 79, 30)
    ages[here[VICTIM]] = 86.0
    return replace(with_column(study, "age", ages), splines={"age": CURVE.to_json()})


def read_by_curve(sums: Mapping[str, Any]) -> np.ndarray:
    """Columns of a curve make up a function that is 0 below the last knots but one."""
    x = np.linspace(18, 100, 300)
    ramp = dict(least_supported(CURVE.every_knot, x))["above 80"]
    columns = np.column_stack([np.ones_like(x), CURVE.design(x)])
    mix = np.linalg.lstsq(columns, ramp, rcond=None)[0]
    (own,) = CURVE.design(np.array([86.0])) @ mix[1:] + mix[0]
    return np.asarray(sums["sum_y"] / sums["people"] + mix[1:] @ sums["wy"] / own)


ATTACKS = {
    "one person": (one_of_a_site, read_one, 0, "1 person, fewer than 10"),
    "two people": (two_of_a_site, read_two, None, "2 people, fewer than 10"),
    "one in a level": (one_in_a_level, read_by_column, VICTIM, "1 with dx = rare, fewer than 5"),
    "a basis for one": (a_basis_for_one, read_by_column, VICTIM, "leverage of 1.00"),
    "knots about one": (knots_about_one, read_by_curve, VICTIM, "1 in effect with age above 80"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_reconstruction(name: str, tmp_path: Path) -> None:
    """Catches a person who can be read from sums, and a control that shows nothing."""
    made, read, victim, words = ATTACKS[name]
    study = made()
    values = rows_of(study).block(slice(None))
    expected = values.max(axis=0) if victim is None else values[victim]
    found = read(sums_of(study, tmp_path / "open", policy=OPEN))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(PolicyError, match=words) as error:
        sums_of(study, tmp_path / "site", policy=DEFAULT)
    assert error.value.code == "policy"
    assert [entry["phase"] for entry in released(tmp_path / "site")] == ["schema"]
    (refused,) = released(tmp_path / "site", kind="refusal")
    assert any(words in why for why in refused["why"])


def test_two_runs_that_differ_by_one(tmp_path: Path) -> None:
    """Catches a person who is the difference of two sums that are each large enough."""
    study = case("combat", n=(30, 30, 30), covariates=("age",))
    victim = 7
    value = rows_of(study).block(slice(None))[victim]
    runs = [sums_of(study, tmp_path / "open", policy=OPEN, drop=drop) for drop in (None, victim)]
    np.testing.assert_allclose(runs[0]["sum_y"] - runs[1]["sum_y"], value, rtol=1e-9)
    sums_of(study, tmp_path / "site", policy=DEFAULT)
    with pytest.raises(PolicyError, match="differ from those of an earlier release by 1"):
        sums_of(study, tmp_path / "site", policy=DEFAULT, drop=victim)
    phases = [entry["phase"] for entry in released(tmp_path / "site")]
    assert phases == ["schema", "moments", "schema"]


def test_the_same_people_may_be_summed_again(tmp_path: Path) -> None:
    """Catches a site that takes part once in its life, and other bytes of the same sum."""
    study = case("combat", n=(30, 30, 30), covariates=("age",))
    first = sums_of(study, tmp_path, policy=DEFAULT)
    again = sums_of(study, tmp_path, policy=DEFAULT)
    other = sums_of(replace(study, options={"prior": "none"}), tmp_path, policy=DEFAULT)
    for name in first:
        assert np.array_equal(first[name], again[name])
        assert np.array_equal(first[name], other[name])
    assert len(released(tmp_path, kind="cohort")) == 1


def test_marks_are_of_people_and_their_data() -> None:
    """Catches a changed value that passes for the same person, an order of rows that passes for
    other people, and marks that can be made without the site's secret."""
    table = rows_of(case("combat", n=(12, 12), covariates=("age", "sex")))
    own = marks(table, SECRET)
    assert len(own) == 12
    order = np.random.default_rng(0).permutation(12)
    shuffled = replace(
        table,
        rows=None,
        values=table.block(slice(None))[order],
        people=table.people[order],
        batch=table.batch[order],
        covariates=table.covariates.iloc[order].reset_index(drop=True),
    )
    assert marks(shuffled, SECRET) == own
    assert not set(marks(table, b"another")) & set(own)
    values = table.block(slice(None)).copy()
    values[3, 2] += 1e-9
    assert apart(own, marks(replace(table, values=values, rows=None), SECRET)) == 1
    older = table.covariates.assign(age=table.covariates["age"] + np.eye(12)[5])
    assert apart(own, marks(replace(table, covariates=older), SECRET)) == 1
    # A study of other covariates and features knows the same people again.
    other = replace(table, covariates=table.covariates[["age"]])
    assert apart(own, marks(other, SECRET)) == 0
    assert apart(own, marks(other.where(np.arange(12) != 5), SECRET)) == 1
    few = replace(table, values=values[:, :3], rows=None, features=table.features[:3])
    assert apart(own, marks(few, SECRET)) == 0


def test_counts() -> None:
    """Catches rows that are counted as people, levels of nobody, and a leverage that depends on
    units or on a column that is constant."""
    study = case("combat", n=(20, 20), covariates=("age", "sex"))
    schema = direct(study, study.tables()).plan.schema
    table = rows_of(study)
    found = counts(table, schema, group="fit")
    assert found.people == 20
    assert sum(n for (name, _), n in found.cells.items() if name == "sex") == 20
    assert found.cells["batch", "b0"] == 20
    X = np.column_stack(
        [np.ones(20), table.covariates["age"], table.covariates["sex"].to_numpy() == "M"]
    ).astype(float)
    assert found.leverage == pytest.approx(np.diag(X @ np.linalg.pinv(X)).max(), rel=1e-9)
    seconds = table.covariates.assign(age=table.covariates["age"] * 3e7)
    scaled = counts(replace(table, covariates=seconds), schema, group="fit")
    assert scaled.leverage == pytest.approx(found.leverage, rel=1e-6)
    # A column of one person is found whatever is added to it.
    one = table.covariates.assign(age=1e11 + np.eye(20)[3] * 50)
    alone = counts(replace(table, covariates=one), schema, group="fit")
    assert alone.leverage == pytest.approx(1.0, abs=1e-6)
    twice = replace(table, people=np.repeat(table.people[:10], 2))
    assert counts(twice, schema, group="fit").people == 10


def test_people_held_out_count_too(tmp_path: Path) -> None:
    """Catches an evaluation that sums four people because the fit has enough."""
    study = replace(
        case("combat", n=(30, 40, 40), covariates=("age",), seed=3),
        evaluation={"metrics": "summed", "held_out": 0.15},
    )
    federation = Federation(study, folder=tmp_path, policies=dict.fromkeys(SITES, DEFAULT))
    outcome = federation.run()
    few = {
        site: int(np.sum(~in_fit(table.people, held_out=0.15, seed=study.seed)))
        for site, table in federation.tables.items()
    }
    assert min(few.values()) < 10
    assert outcome.unjudged == {site: "policy" for site, n in few.items() if n < 10}
    assert not outcome.missing


def test_parts_of_groups_count(tmp_path: Path) -> None:
    """Catches two sums that are each large enough and whose difference is one person's."""
    study = case("combat", n=(30, 30), covariates=("age",))
    schema = direct(study, study.tables()).plan.schema
    table = rows_of(study)
    judged = np.arange(30) < 20
    read = judged & (np.arange(30) != 7)
    found = groups(table, schema, {"judged": judged, "read": read})
    assert {(part.group, part.people) for part in found} == {("judged", 1), ("judged and read", 19)}
    assert any("1 person judged" in words for p in found for words in DEFAULT.against(p))


def test_who_lacks_a_value_counts(tmp_path: Path) -> None:
    """Catches sums over those who have a value beside sums over all: the difference is of the one
    person who lacks it."""
    study = case("combat", n=(30, 30), covariates=("age",))
    schema = direct(study, study.tables()).plan.schema
    table = rows_of(study)
    values = table.block(slice(None)).copy()
    values[4, 1] = np.nan
    values[5:, 2] = np.nan
    gaps = replace(table, values=values, rows=None)
    found = counts(gaps, schema, group="fit", by_feature=True)
    assert (found.observed, found.missing) == (5, 1)
    assert list(DEFAULT.against(found)) == [
        "5 with a feature's value, fewer than 10",
        "1 without it, fewer than 5",
    ]
    assert counts(table, schema, group="fit", by_feature=True).missing is None


def test_a_small_scanner_of_a_large_site(tmp_path: Path) -> None:
    """Catches a batch of few people that hides behind the site's others, and one whose own
    estimates are published."""
    study = case("combat", n=(30, 3, 30), covariates=(), options={"reference": "b1"})
    tables = study.tables({"b0": "x", "b1": "x", "b2": "y"})
    schema = direct(study, tables).plan.schema
    found = counts(tables["x"], schema, group="fit")
    assert "3 with batch = b1, fewer than 5" in list(DEFAULT.against(found))
    enough = replace(found, cells={("batch", "b1"): 7})
    assert list(DEFAULT.against(enough)) == []
    assert list(DEFAULT.against(enough, alone=True)) == ["7 with batch = b1, fewer than 10"]


def test_a_probing_coordinator(tmp_path: Path) -> None:
    """Catches a phase that is answered for as many models as somebody makes up."""
    study = case("combat", n=(30, 30, 30), covariates=("age",), options={"reference": "b0"})
    fit = direct(study, study.tables())
    worker = worker_of(study.tables()["site-b0"], tmp_path)
    worker.agree({"study": study.study.public()})
    document = {"schema": fit.plan.schema.to_json(), "done": []}
    for turn in range(4):
        worker.prepare(document, fit.plan.hash)
        worker.phase("moments", {}, fit.plan.hash)
        shared = {**fit.shared, "beta": fit.shared["beta"] + turn}
        if turn < 3:
            assert worker.phase("reference", shared, fit.plan.hash)
            continue
        with pytest.raises(PolicyError, match="answered for 3 different models"):
            worker.phase("reference", shared, fit.plan.hash)
        assert worker.phase("reference", {**fit.shared, "beta": fit.shared["beta"]}, fit.plan.hash)


def test_as_many_cohorts_as_equations(tmp_path: Path) -> None:
    """Catches overlapping halves of a site, summed until they have one solution."""
    policy = SitePolicy(most_cohorts=3, plain_sums=True)
    study = case("combat", n=(40, 30), covariates=())
    for seed in range(3):
        half = {"metrics": "none", "held_out": 0.5}
        assert sums_of(replace(study, seed=seed, evaluation=half), tmp_path, policy=policy)
    with pytest.raises(PolicyError, match="3 different sets of people were summed already"):
        sums_of(replace(study, seed=9, evaluation=half), tmp_path, policy=policy)


def test_data_changed_between_prepare_and_phase(tmp_path: Path) -> None:
    """Catches a process that takes up a run after somebody has gone, and sums the others."""
    study = case("combat", n=(30, 30, 30), covariates=("age",))
    sums_of(study, tmp_path, policy=DEFAULT)
    fit = direct(study, study.tables())
    table = rows_of(study).where(np.arange(30) != 7)
    worker = worker_of(table, tmp_path)
    asked = {"study": study.study.public()}
    document = {"schema": fit.plan.schema.to_json(), "done": []}
    worker.take_up(asked, document, fit.plan.hash, "moments")
    with pytest.raises(PolicyError, match="by 1"):
        worker.phase("moments", {}, fit.plan.hash)


def test_a_refused_cohort_is_not_one_that_left(tmp_path: Path) -> None:
    """Catches a study that is refused because too few came, and again when enough have."""
    study = case("combat", n=(12, 30, 30), covariates=())
    nine = study.tables()["site-b0"].where(np.arange(12) < 9)
    fit = direct(study, {**study.tables(), "site-b0": nine})
    worker = worker_of(nine, tmp_path)
    worker.agree({"study": study.study.public()})
    worker.prepare({"schema": fit.plan.schema.to_json(), "done": []}, fit.plan.hash)
    with pytest.raises(PolicyError, match="9 people, fewer than 10"):
        worker.phase("moments", {}, fit.plan.hash)
    assert sums_of(study, tmp_path, policy=DEFAULT)


def test_methods(tmp_path: Path) -> None:
    """Catches a study that begins with a method which the hospital does not take part in."""
    study = case("combat", n=(30, 30), covariates=())
    with pytest.raises(PolicyError, match="does not take part"):
        sums_of(study, tmp_path, policy=SitePolicy(methods=("nyul",), plain_sums=True))
    assert released(tmp_path) == []
    assert sums_of(study, tmp_path, policy=SitePolicy(methods=("nyul", "combat"), plain_sums=True))


def test_a_lifetime_of_numbers(tmp_path: Path) -> None:
    """Catches a budget that a crash spends twice, and one that a new study begins anew."""
    study = case(n=(30, 30, 30), p=5, covariates=("age",))
    table = rows_of(study)
    fit = direct(study, study.tables())
    numbers = sum(np.asarray(array).size for array in fit.sent[0][2].values())
    policy = DEFAULT.model_copy(update={"lifetime": 2 * numbers - 1})
    for _ in range(2):
        sums_of(study, tmp_path, policy=policy)
    other = with_column(study, "age", study.covariates["age"].to_numpy() + 1.0)
    with pytest.raises(PolicyError, match="of its life"):
        sums_of(other, tmp_path, policy=policy)
    enough = DEFAULT.model_copy(update={"lifetime": 2 * numbers})
    assert sums_of(other, tmp_path, policy=enough)
    assert len(table) == 30


def test_a_refusal_is_an_answer(tmp_path: Path) -> None:
    """Catches a coordinator that asks until a number is within its bound: where that begins tells
    the number."""
    study = case(n=(30, 30, 30), p=5, covariates=("age",))
    fit = direct(study, study.tables())
    worker = worker_of(rows_of(study), tmp_path, DEFAULT.model_copy(update={"repeats": 2}))
    worker.agree({"study": study.study.public()})
    worker.prepare({"schema": fit.plan.schema.to_json(), "done": []}, fit.plan.hash)
    planned = worker.planned(fit.plan.hash)
    cohort = planned.permission.cohort
    for guess in (1.0, 2.0):
        told = {"guess": np.asarray(guess)}
        planned.gate.refused(fit.plan, "moments", ["beyond"], cohort=cohort, shared=told)
    with pytest.raises(PolicyError, match="answered for 2 different models"):
        worker.phase("moments", {"guess": np.asarray(3.0)}, fit.plan.hash)

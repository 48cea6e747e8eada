"""What `motet plan` says of a training before anybody agrees to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.brains import study_of
from conformance.cases import case
from motet.agreement import agree
from motet.cli.show_training import few_behind, likely_bytes, most_bytes, trainings
from motet.config import Privacy
from motet.errors import StudyFileError, TrainingError
from motet.plan import Plan, build_plan
from motet.schema import Batch
from motet.strategies.trained import check_trainings
from motet.training.phase import Train
from training.toy import options, toy


def planned(*, secure: bool = True, method: str = "deepcombat", **train: Any) -> Plan:
    made = case(method, n=(12, 30, 8, 10))
    tables = made.tables()
    study = made.study.model_copy(
        update={"train": {"preset": "tiny", **train}, "privacy": Privacy(secure_sum=secure)}
    )
    return build_plan(study, agree([table.described for table in tables.values()]))


FIT = {"a": 12, "b": 30, "c": 8, "d": 10}


@pytest.mark.parametrize(
    ("train", "few", "at_times"),
    [
        ({"mode": "exact", "batch": 30}, "acd", "b"),
        ({"mode": "exact", "batch": 0}, "c", ""),
        ({"batch": 30, "local_steps": 3}, "", "cd"),
        ({"batch": 30, "local_steps": 12, "steps": 12}, "", ""),
        ({"batch": 6, "local_steps": 1}, "abcd", ""),
    ],
    ids=str,
)
def test_sites_of_whom_few_stand_behind_an_exchange_are_named(
    train: dict[str, Any], few: str, at_times: str
) -> None:
    """Catches a plan that says a policy lets all leave, of which the gate stops an exchange."""
    found = few_behind(planned(**train), FIT, 10)
    said = {site: " ".join(why) for site, why in found.items()}
    assert {site for site, why in said.items() if "at times" in why} == set(at_times)
    assert {site for site, why in said.items() if "10" in why} == {*few, *at_times}
    assert all("larger 'batch'" in words for why in found.values() for words in why)


def test_a_step_is_as_large_as_the_training_makes_it() -> None:
    """Catches steps of 59 of 60 people, which are two of 30, and a share that validates taken off
    twice."""
    (words,) = few_behind(planned(mode="exact", batch=59), FIT, 14)["a"]
    assert words.startswith("about 6 samples are trained on")
    many = {site: 100 * n for site, n in FIT.items()}
    halved = {"mode": "exact", "batch": 300, "validation": 0.5, "validate_every": 1}
    assert not few_behind(planned(**halved), many, 10)


def test_what_makes_it_more_is_what_there_is() -> None:
    """Catches advice to take more steps between exchanges in exact mode, or for who validates."""
    exact = few_behind(planned(mode="exact", batch=6), FIT, 10)["a"]
    assert exact[0].endswith("a larger 'batch' makes it more; or 'mode: local'")
    local = few_behind(planned(batch=6, local_steps=2), FIT, 10)["a"]
    assert "more steps than 2 between exchanges of" in local[0]


def test_masks_hide_a_sites_part_where_no_scanner_has_parameters_of_its_own() -> None:
    """Catches a refusal that is said and not meant."""
    asked = {"method": "fed_combat", "mode": "exact", "batch": 6}
    assert not few_behind(planned(secure=True, **asked), FIT, 10)
    assert few_behind(planned(secure=False, **asked), FIT, 10)["b"]


@pytest.mark.parametrize(
    ("method", "params", "few"),
    [
        ("murd", {"adversary_steps": 10}, ["site-b0", "site-b1", "site-b2", "site-b3"]),
        ("murd", {"adversary_steps": 20}, []),
        # b1 has half of all: 30 slices are behind its other networks, and 7.5 behind its critic.
        ("calamiti", {}, ["site-b0", "site-b1", "site-b2", "site-b3"]),
    ],
)
def test_slices_behind_an_exchange_are_counted(
    method: str, params: dict[str, Any], few: list[str]
) -> None:
    """Catches a training on images of which the gate stops exchanges, and the plan says nothing."""
    study = study_of(method, params).model_copy(
        update={"train": {"preset": "small", "mode": "local", "batch": 3, "local_steps": 20}}
    )
    schema = replace(planned().schema, features=(), units=())
    fit = {f"site-b{k}": n for k, n in enumerate(FIT.values())}
    found = few_behind(build_plan(study, schema), fit, 10)
    assert sorted(site for site, why in found.items() if why) == few


@pytest.mark.parametrize(
    ("method", "train", "said"),
    [
        ("deepcombat", {"mode": "local"}, "own parameters are one site's"),
        ("murd", {"mode": "local"}, "its optimizer's moments are one site's"),
        ("murd", {"mode": "exact"}, ""),
    ],
)
def test_what_masks_do_not_hide_is_said(
    method: str, train: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a plan that calls heads one site's that all sites move."""
    asked = {"train": {"preset": "small", **train}, "privacy": Privacy(secure_sum=True)}
    schema = planned().schema
    if method == "murd":
        schema = replace(schema, features=(), units=())
    trainings(build_plan(study_of(method, {}).model_copy(update=asked), schema))
    told = " ".join(capsys.readouterr().out.split())
    assert "They are masked" in told
    assert said in told
    assert ("masks do not hide" in told) == bool(said)
    assert ("mean gradient of these steps" in told) == bool(said)
    assert ("and its mean square" in told) == (method == "deepcombat")


def test_a_warm_up_is_told_as_long_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches three steps in plan and report where four are taken: rounds of updates are whole."""
    train = replace(toy(options(mode="local", steps=8, warm_up=3)), name="cvae")
    plan = planned()
    plan = replace(plan, steps=tuple(train if s.name == "cvae" else s for s in plan.steps))
    assert plan.to_json()["trainings"]["cvae"]["warm_up"] == train.warm_up == 4
    trainings(plan)
    assert "before that, for 4 steps" in " ".join(capsys.readouterr().out.split())


def test_who_validates_counts_too() -> None:
    found = few_behind(planned(batch=0, local_steps=3, validation=0.25, validate_every=1), FIT, 10)
    assert [len(found[site]) for site in sorted(FIT)] == [1, 1, 1, 1]
    assert "validate" in found["b"][0]
    assert "larger 'validation'" in found["b"][0]


def test_scanners_that_take_turns_are_counted_in_whole_rounds() -> None:
    """Catches a site of three scanners that has 9 slices behind some exchanges, and 10.5 on
    average, and a refusal of 12 always."""
    schema = replace(planned().schema, features=(), units=())
    batches = tuple(Batch(site, f"{site}{k}") for site in "ab" for k in range(3))
    few = []
    for batch in (7, 8, 10):
        study = study_of("murd", {"adversary_steps": 3}).model_copy(
            update={"train": {"preset": "small", "mode": "local", "batch": batch, "local_steps": 3}}
        )
        plan = build_plan(study, replace(schema, batches=batches))
        few.append(few_behind(plan, {"a": 20, "b": 20}, 10).get("a", [""])[0])
    assert "about 10.5 slices are trained on" in few[0]
    assert "at times fewer than 10" in few[0]
    assert [bool(words) for words in few] == [True, False, False]


def test_a_step_of_more_people_than_there_are_is_refused_by_the_plan() -> None:
    """Catches an error after approval and a first sum."""
    check_trainings(planned(batch=60), 60)
    with pytest.raises(TrainingError, match="takes 61 samples, and the fit has 60") as raised:
        check_trainings(planned(batch=61), 60)
    assert "batch: 60" in str(raised.value)
    assert "batch: 0" in str(raised.value)


def test_an_exchange_longer_than_the_training_is_refused_by_the_plan() -> None:
    """Catches 'local_steps' that make a training of 5 epochs one of 50."""
    length = {"batch": 30, "epochs": 5.0, "steps": 1000}
    check_trainings(planned(**length, local_steps=10), 60)
    with pytest.raises(TrainingError, match="takes 100 steps, and 5 epochs of 60 samples are 10"):
        check_trainings(planned(**length, local_steps=100), 60)
    with pytest.raises(TrainingError, match="warm_up counts"):
        check_trainings(planned(**length, local_steps=6, warm_up=5), 60)
    check_trainings(planned(mode="exact", batch=30, epochs=0.5), 60)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"learning_rate": 0.1}, "Put it under params"),
        ({"device": "cuda"}, "--device cuda"),
    ],
)
def test_what_is_no_part_of_the_section_says_where_it_belongs(
    train: dict[str, Any], words: str
) -> None:
    """Catches a suggestion of another key that does nothing."""
    with pytest.raises(StudyFileError) as raised:
        planned(**train)
    assert words in str(raised.value)


def test_what_is_likely_is_said_beside_the_most(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches bytes of 20,000 steps where there are thirty, and more steps than asked."""
    plan = planned(epochs=7, batch=20, local_steps=10, steps=20_000)
    (train,) = (phase for phase in plan.phases if isinstance(phase, Train))
    trainings(plan, rows=60)
    said = " ".join(capsys.readouterr().out.split())
    assert "at most 20,000 steps in 2,000 exchanges" in said
    assert (
        "here: 30 steps of about 20 (7 epochs are 21, and the last exchange is whole) in 3 exch"
        in said
    )
    assert likely_bytes(train, plan, 60) * 2000 == most_bytes(train, plan) * 3
    trainings(planned(epochs=1, batch=20, local_steps=3), rows=60)
    said = " ".join(capsys.readouterr().out.split())
    assert "60 rows here: 3 steps of about 20 in 1 exchange, about" in said
    trainings(planned(epochs=7, batch=20, local_steps=10, steps=12), rows=60)
    said = " ".join(capsys.readouterr().out.split())
    assert "60 rows here: 20 steps of about 20 in 2 exchanges" in said  # 7 epochs would be 21

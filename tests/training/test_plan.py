"""What `motet plan` says of a training before anybody agrees to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conformance.brains import study_of
from conformance.cases import case
from motet.agreement import agree
from motet.cli.show_training import check_trainings, few_behind
from motet.config import Privacy
from motet.errors import StudyFileError, TrainingError
from motet.plan import Plan, build_plan


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
        ({"batch": 30, "local_steps": 3}, "", "acd"),
        ({"batch": 30, "local_steps": 6}, "", ""),
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
        ("calamiti", {}, ["site-b0", "site-b2", "site-b3"]),
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


def test_who_validates_counts_too() -> None:
    found = few_behind(planned(batch=0, local_steps=3, validation=0.25, validate_every=1), FIT, 10)
    assert [len(found[site]) for site in sorted(FIT)] == [1, 1, 1, 1]
    assert "validate" in found["b"][0]


def test_a_step_of_more_people_than_there_are_is_refused_by_the_plan() -> None:
    """Catches an error after approval and a first sum."""
    check_trainings(planned(batch=60), 60)
    with pytest.raises(TrainingError, match="takes 61 samples, and the fit has 60") as raised:
        check_trainings(planned(batch=61), 60)
    assert "batch: 60" in str(raised.value)
    assert "batch: 0" in str(raised.value)


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

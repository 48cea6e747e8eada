"""What this version says to plans that it cannot run yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kernel.plans.catalog import SCHEMA, plan_of, trains, with_steps
from motet.config import Study
from motet.errors import DesignError, PlanError
from motet.harmonizer import Params
from motet.phases import Agree, Repeat, Step
from motet.plan import build_plan
from motet.strategies import check_runnable


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ravel", "'template' of 'ravel' needs a second agreement"),
        ("calamiti", "'slices' of 'calamiti' needs all people"),
        ("murd", "'styles' of 'murd' needs a choice of sites"),
        ("mispel_b", "'travelers' of 'mispel_b' needs a second agreement"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_by_the_name_of_its_phase(
    name: str, says: str
) -> None:
    with pytest.raises(PlanError, match=says):
        check_runnable(plan_of(name))


def test_what_is_sealed_for_one_site_can_be_run() -> None:
    check_runnable(plan_of("mica"))


@pytest.mark.parametrize("name", ["calamiti", "murd"])
def test_every_training_can_be_run(name: str) -> None:
    for train in trains(name):
        check_runnable(with_steps(name, (plan_of(name).steps[0], train)))


def without_agreement(name: str) -> tuple[Step, ...]:
    """The steps after the platform's own agreement, that one kept."""
    first, *rest = plan_of(name).steps
    return (first, *(step for step in rest if not isinstance(step, Agree)))


def test_mispel_without_its_agreement_is_refused_for_its_travelers() -> None:
    with pytest.raises(PlanError, match="'units' of 'mispel_b' needs a choice of sites"):
        check_runnable(with_steps("mispel_b", without_agreement("mispel_b")))


def phases_of(name: str) -> list[Any]:
    return [phase for phase in plan_of(name).phases if not isinstance(phase, Agree)]


@pytest.mark.parametrize("phase", phases_of("mispel_b"), ids=lambda phase: phase.name)
def test_every_keyed_phase_is_refused_on_its_own(phase: Any) -> None:
    alone = with_steps("mispel_b", (plan_of("mispel_b").steps[0], phase))
    if getattr(phase, "read_by", "") == "holders":
        with pytest.raises(DesignError, match="none was scanned at two"):
            check_runnable(alone)
        held = replace(alone.schema, holders=(("t1", ("a", "b")),))
        check_runnable(replace(alone, schema=held))
    elif phase.who.holders or getattr(phase, "key", ""):
        with pytest.raises(PlanError, match=f"'{phase.name}'"):
            check_runnable(alone)
    else:
        check_runnable(alone)


def test_ravel_asks_for_no_new_kind_of_phase() -> None:
    """Once its template is agreed, RAVEL is sums, local work and repeats: all of them run."""
    check_runnable(with_steps("ravel", without_agreement("ravel")))


def test_combat_is_runnable() -> None:
    study = Study(study="s", method="combat", params={"covariates": ["age", "sex"]})
    plan = build_plan(study, SCHEMA)
    assert issubclass(plan.harmonizer.params_type, Params)
    check_runnable(plan)


def test_a_training_that_is_repeated_is_refused() -> None:
    """Catches a second training over the first one's samples."""
    (train, *_) = trains("calamiti")
    steps = (plan_of("calamiti").steps[0], Repeat(name="turns", at_most=2, steps=(train,)))
    with pytest.raises(PlanError, match="needs a training that is repeated"):
        check_runnable(with_steps("calamiti", steps))

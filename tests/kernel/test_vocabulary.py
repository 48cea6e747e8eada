"""The phases can say what every later method needs, before any of it is written."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from kernel.plans.catalog import METHODS, PARAMS, SCHEMA, plan_of, with_steps
from motet.config import Study
from motet.describe import describe
from motet.errors import PlanError
from motet.phases import Local, Repeat, Step, Sum, Who
from motet.plan import build_plan
from motet.plan_checks import check_steps
from motet.registry import Registry
from motet.releases import Size
from motet.schema import Schema
from motet.store import canonical_json

each_method = pytest.mark.parametrize("name", METHODS)


def steps_of(name: str) -> tuple[Step, ...]:
    """What a fit and a newcomer do."""
    plan = plan_of(name)
    return (*plan.steps, *METHODS[name].join(plan.params, SCHEMA))


@each_method
def test_the_kernel_accepts_the_plan_and_the_method(name: str) -> None:
    check_steps(plan_of(name).steps, SCHEMA)
    check_steps(METHODS[name].join(plan_of(name).params, SCHEMA), SCHEMA)
    Registry().register(METHODS[name])


@each_method
def test_a_study_file_leads_to_the_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    registry.register(METHODS[name])
    monkeypatch.setattr("motet.registry.methods", lambda: registry)
    study = Study(
        study="vocabulary",
        method=name,
        params=PARAMS.get(name, {}),
        seed=1,
        evaluation={"held_out": 0.2, "metrics": "none"},  # type: ignore[arg-type]
        privacy={"secure_sum": False},  # type: ignore[arg-type]
    )
    assert build_plan(study, SCHEMA).hash == plan_of(name).hash


@each_method
def test_plan_json_is_plain_and_canonical(name: str) -> None:
    document = plan_of(name).to_json()
    assert json.loads(canonical_json(document)) == document


@each_method
def test_the_newcomers_steps_are_plain_too(name: str) -> None:
    described = describe(tuple(METHODS[name].join(plan_of(name).params, SCHEMA)))
    assert json.loads(canonical_json(described)) == described


def test_hashes_are_equal_in_other_processes() -> None:
    """Catches an order of a set, an address, or a module name that gets into the hash."""
    here = {name: plan_of(name).hash for name in METHODS}
    assert here == {name: plan_of(name).hash for name in METHODS}
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
        command = [sys.executable, "-m", "kernel.plans.catalog"]
        run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert json.loads(run.stdout) == here
    assert len(set(here.values())) == len(METHODS)


def changed(value: Any) -> Iterator[Any]:
    """Copies of a declaration in each of which one number, name or switch is another."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    elif isinstance(value, str):
        yield f"{value}_"
    elif isinstance(value, Schema):
        return
    elif isinstance(value, BaseModel):
        for key in type(value).model_fields:
            for new in changed(getattr(value, key)):
                yield value.model_copy(update={key: new})
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from ({**value, key: new} for new in changed(item))
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from ((*value[:i], new, *value[i + 1 :]) for new in changed(item))
    elif inspect.ismethod(value):
        yield from (getattr(owner, value.__name__) for owner in changed(value.__self__))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            for new in changed(getattr(value, field.name)):
                try:
                    yield dataclasses.replace(value, **{field.name: new})
                except PlanError:
                    continue


@each_method
def test_every_declared_number_and_name_is_in_the_hash(name: str) -> None:
    """A weight, a shape, a bound, ``at_most``, a period: consent was given to that one."""
    hashes = [plan_of(name).hash]
    hashes += [with_steps(name, steps).hash for steps in changed(plan_of(name).steps)]
    assert len(hashes) > 30
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize(
    "other",
    [{"steps": 2}, {"batch_size": 4}, {"largest_update": 10.0}, {"temperature": (0.5, 1e-4)}],
    ids=str,
)
def test_an_option_of_the_study_file_is_in_the_hash(other: dict[str, Any]) -> None:
    assert plan_of("calamiti", **other).hash != plan_of("calamiti").hash


@pytest.mark.parametrize(
    "how",
    [
        {"sets": (Size(name="some", at_most="p"),)},
        {"who": Who(holders="traveler"), "key": "traveler", "read_by": "holders"},
    ],
    ids=["a size", "holders"],
)
def test_what_sites_are_not_told_is_nothing_they_need(how: dict[str, Any]) -> None:
    """Catches a size that only the coordinator knows, and a sum for holders that nobody gets."""
    phase = Sum(
        name="hidden",
        arrays=(),
        at_site=describe,
        at_coordinator=describe,
        stays_at="coordinator",
        **how,
    )
    with pytest.raises(PlanError, match="tells sites nothing"):
        check_steps((phase,), SCHEMA)


@dataclasses.dataclass
class Mutable:
    def send(self, site: Any, shared: Any) -> None:
        raise AssertionError


class Plain:
    def send(self, site: Any, shared: Any) -> None:
        raise AssertionError

    @classmethod
    def of_class(cls, site: Any, shared: Any) -> None:
        raise AssertionError


def _closure() -> Callable[..., None]:
    def send(site: Any, shared: Any) -> None:
        raise AssertionError

    return send


@pytest.mark.parametrize(
    ("at_site", "says"),
    [
        (lambda site, shared: None, "a lambda or a nested function"),
        (_closure(), "a lambda or a nested function"),
        (Mutable().send, "not a frozen dataclass"),
        (Plain().send, "not a frozen dataclass"),
        (Plain.of_class, "not a frozen dataclass"),
    ],
    ids=["lambda", "closure", "mutable dataclass", "plain object", "class method"],
)
def test_a_callable_that_no_site_could_rebuild_is_refused(at_site: Any, says: str) -> None:
    inside = Repeat(name="turns", at_most=2, steps=(Local(name="work", at_site=at_site),))
    with pytest.raises(PlanError, match=says):
        check_steps((inside,), SCHEMA)


def methods_in(value: Any) -> Iterator[Any]:
    if inspect.ismethod(value):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from methods_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from methods_in(tuple(getattr(value, f.name) for f in dataclasses.fields(value)))


@each_method
def test_nothing_of_a_declaration_runs(name: str) -> None:
    """Catches a plan that does work while it is built, and a method left half written."""
    for method in (found := list(methods_in(steps_of(name)))):
        with pytest.raises(AssertionError, match="declared, not run"):
            method(*[None] * len(inspect.signature(method).parameters))
    assert found

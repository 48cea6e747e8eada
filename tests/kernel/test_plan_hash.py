"""The plan hash: the same everywhere for the same plan, another for any other."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.cases import Case, case
from motet.agreement import agree
from motet.config import Evaluation, Federation
from motet.describe import describe
from motet.plan import Plan, build_plan
from motet.schema import Schema

STUDY = case(p=4)

CHILD = """
from conformance.cases import case
from motet.plan import build_plan
from motet.agreement import agree
study = case(p=4)
schema = agree([t.described for t in reversed(study.tables().values())])
print(build_plan(study.study, schema).hash)
"""


def schema_of(study: Case, site_of: dict[str, str] | None = None) -> Schema:
    return agree([table.described for table in study.tables(site_of).values()])


def plan_of(**changes: Any) -> Plan:
    return build_plan(STUDY.study.model_copy(update=changes), schema_of(STUDY))


def test_same_in_another_process() -> None:
    """Catches an address, a set's order or a salted hash in what is hashed."""
    path = [str(Path(__file__).parents[1]), *(p for p in sys.path if p)]
    environment = {"PYTHONPATH": os.pathsep.join(path), "PYTHONHASHSEED": "123"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=os.environ | environment,
        timeout=60,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == plan_of().hash


def test_folders_quorum_and_timeout_are_not_in_it() -> None:
    """Catches a path of somebody's disk deciding whether two sites may work together."""
    assert plan_of(sites={"a": Path("/home/erika")}).hash == plan_of().hash
    assert plan_of(federation=Federation(quorum=3, timeout=5.0)).hash == plan_of().hash


def test_who_takes_part_is_not_in_it() -> None:
    """Catches a hash that changes when a site drops out: the others would have to consent anew."""
    some = {"b0": "x", "b1": "y", "b2": "x", "b3": "z"}
    assert build_plan(STUDY.study, schema_of(STUDY, some)).hash == plan_of().hash
    fewer = [t.described for s, t in STUDY.tables().items() if s != "site-b2"]
    assert build_plan(STUDY.study, agree(fewer)).hash == plan_of().hash


@pytest.mark.parametrize(
    "changes", [{"study": "other"}, {"seed": 7}, {"params": {"prior": "none"}}, {"held_out": 0.2}]
)
def test_what_is_consented_to_is_in_it(changes: dict[str, Any]) -> None:
    """Catches a plan that changes under a consent that was given to its hash."""
    if "held_out" in changes:
        changes = {"evaluation": Evaluation(**changes)}
    assert plan_of(**changes).hash != plan_of().hash


@pytest.mark.parametrize(
    "change",
    [
        {"features": ("f0", "f1", "f3", "f2")},
        {"features": ("f0", "f1", "f2", "g3")},
        {"units": ("mm", "", "", "")},
        {"covariates": ()},
    ],
)
def test_schema_is_in_it(change: dict[str, Any]) -> None:
    """Catches another order of features, unit or covariate under the same hash."""
    schema = schema_of(STUDY)
    assert build_plan(STUDY.study, replace(schema, **change)).hash != plan_of().hash


def test_levels_are_in_it() -> None:
    """Catches a new level of a covariate, which changes every column after it."""
    schema = schema_of(STUDY)
    dx = replace(schema.covariates[2], levels=("AD", "CN", "FTD", "MCI"))
    changed = replace(schema, covariates=(*schema.covariates[:2], dx))
    assert build_plan(STUDY.study, changed).hash != plan_of().hash


def test_names_that_run_together_are_told_apart() -> None:
    """Catches ['a', 'b'] and ['a\\nb'] under one digest."""
    schema = schema_of(STUDY)
    hashes = {
        replace(schema, features=names).digest
        for names in [("a", "b"), ("a\nb",), ("ab",), ("a,b",), ('a","b',)]
    }
    assert len(hashes) == 5


def test_the_version_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches two versions that take each other's sums."""
    before = plan_of().hash
    monkeypatch.setattr("motet.plan.__version__", "9.9.9")
    assert plan_of().hash != before


def test_declared_arrays_are_in_it() -> None:
    """Catches a release that grows under the same hash."""
    plan = plan_of()
    phase = plan.steps[1]
    wider = replace(phase.arrays[0], shape=("p",))  # type: ignore[union-attr]
    changed = replace(phase, arrays=(wider, *phase.arrays[1:]))  # type: ignore[union-attr, call-arg]
    assert describe(phase) != describe(changed)
    assert replace(plan, steps=(plan.steps[0], changed, *plan.steps[2:])).hash != plan.hash


def test_plan_file_holds_the_hash_and_no_path() -> None:
    """Catches plan.json with a folder in it, or without what was hashed."""
    plan = plan_of(sites={"a": Path("/home/erika")})
    document = plan.to_json()
    assert document["hash"] == plan.hash
    assert "erika" not in repr(document)

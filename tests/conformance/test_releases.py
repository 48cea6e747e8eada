"""What leaves a site is what the plan declares, and its size tells nothing of the people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.cases import BATTERY, METHODS, MISSING_CELLS, Case, battery_id, case
from conformance.direct import direct
from conformance.federation import Federation
from conformance.ledgers import released
from motet.flower.records import decode
from motet.phases import Publish, Sum, walk
from motet.releases import bind, violations

ACTIONS = ("hello", "agree", "prepare", "finish", "close")
PLATFORM = {f"query.{action}" for action in ACTIONS}


def leaving(study: Case) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """(site, phase) -> the arrays in the site's real messages."""
    federation = Federation(study)
    federation.run()
    assert {s.action for s in federation.sent} == PLATFORM | {"train.phase"}
    for sent in federation.sent:
        if sent.action in PLATFORM:
            assert not decode(sent.reply.content)[1].arrays, f"{sent.action} carried arrays"
    return {
        (s.site, s.envelope.phase): dict(decode(s.reply.content)[1].arrays)
        for s in federation.sent
        if s.action == "train.phase"
    }


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
def test_every_message_holds_the_declared_arrays_and_nothing_else(
    method: str, options: dict[str, Any], missing: float
) -> None:
    """Catches an array too many, a dtype or shape that consent was not given to."""
    study = case(method, options, missing=missing if method in MISSING_CELLS else 0.0)
    called = direct(study, study.tables())
    messages = leaving(study)
    for (_, path), arrays in messages.items():
        phase = called.plan.phase_at(path)
        sizes = called.plan.sizes(called.shared)
        assert violations(arrays, phase.releases, sizes) == ()
        for spec in phase.releases:
            most = bind(spec.shape, dict(sizes) | {"incomplete": sizes["p"]})
            assert arrays[spec.name].size <= np.prod(most, dtype=int)
    assert {(site, path.partition("@")[0]) for (site, path), sent in messages.items() if sent} == {
        (site, phase) for phase, site, _ in called.sent
    }


@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
def test_shapes_do_not_depend_on_the_number_of_people(method: str, options: dict[str, Any]) -> None:
    """Catches a row per person leaving in any guise."""
    few, many = case(method, options, n=(8, 9, 8)), case(method, options, n=(21, 40, 33))
    shapes = [
        {key: {name: (a.shape, a.dtype) for name, a in arrays.items()} for key, arrays in m.items()}
        for m in (leaving(few), leaving(many))
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
def test_shared_model_does_not_grow_with_people(method: str, options: dict[str, Any]) -> None:
    """Catches training covariates or standardized rows in the model that everybody gets."""
    few, many = case(method, options, n=(8, 9, 8)), case(method, options, n=(21, 40, 33))
    one, other = (direct(study, study.tables()) for study in (few, many))
    assert {k: a.shape for k, a in one.shared.items()} == {
        k: a.shape for k, a in other.shared.items()
    }
    for site, model in one.models.items():
        bigger = other.models[site].arrays
        assert {k: a.shape for k, a in model.arrays.items()} == {
            k: a.shape for k, a in bigger.items()
        }


@pytest.mark.parametrize("method", METHODS)
def test_raw_sums_are_not_in_the_shared_model(method: str) -> None:
    """Catches a coordinator that broadcasts what it added up: with two sites, each could then
    subtract itself and read the other. Counts of people are public."""
    study = case(method)
    called = direct(study, study.tables())
    sums: dict[str, np.ndarray] = {}
    for phase, _, arrays in called.sent:
        for name, array in arrays.items():
            key = f"{phase}.{name}"
            sums[key] = sums.get(key, 0) + array
    for key, total in sums.items():
        if total.ndim:
            for name, array in called.shared.items():
                same = array.shape == total.shape and array.dtype.kind == "f"
                assert not (same and np.array_equal(array, total)), f"{name} is the sum {key}"


@pytest.mark.parametrize("method", METHODS)
def test_every_release_says_what_it_is(method: str) -> None:
    """Catches a method that asks for consent without a sentence."""
    study = case(method)
    for phase, _ in walk(direct(study, study.tables()).plan.steps):
        for spec in phase.releases if isinstance(phase, Sum | Publish) else ():
            assert len(spec.meaning.split()) >= 3, f"{phase.name}.{spec.name}"


@pytest.mark.parametrize("method", METHODS)
def test_ledger_of_every_site_lists_what_its_messages_held(method: str, tmp_path: Any) -> None:
    """Catches a ledger that is written from the declaration instead of from the bytes."""
    import hashlib

    federation = Federation(case(method), folder=tmp_path)
    federation.run()
    for site in federation.tables:
        written = [
            (entry["phase"], array["name"], array["sha256"])
            for entry in released(tmp_path / site)
            for array in entry.get("arrays", ())
        ]
        sent = [
            (s.envelope.phase, name, hashlib.sha256(array.tobytes()).hexdigest())
            for s in federation.sent
            if s.site == site and s.action == "train.phase"
            for name, array in sorted(decode(s.reply.content)[1].arrays.items())
        ]
        assert written == sent

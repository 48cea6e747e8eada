"""The platform adds nothing to the numbers: the grid gives what calling the method gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.cases import BATTERY, METHODS, MISSING_CELLS, battery_id, case
from conformance.direct import direct
from conformance.federation import run_case
from motet.plan import model_document
from motet.store import content_hash


def same_bytes(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert sorted(a) == sorted(b)
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].shape == b[name].shape, name
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
def test_grid_and_direct_call_agree_bit_for_bit(
    method: str, options: dict[str, Any], missing: float
) -> None:
    """Catches a transport that rounds, a sum in another order, a step left out or done twice."""
    if missing and method not in MISSING_CELLS:
        missing = 0.0
    study = case(method, options, missing=missing)
    outcome, values = run_case(study)
    called = direct(study, study.tables())
    same_bytes(outcome.shared, called.shared)
    assert values.tobytes() == called.values.tobytes()
    assert content_hash(outcome.shared, model_document(outcome.plan)) == called.sha256


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_bytes(method: str) -> None:
    """Catches a draw, a set or a thread that decides anything."""
    study = case(method, seed=3)
    (first, a), (second, b) = run_case(study), run_case(study)
    same_bytes(first.shared, second.shared)
    assert a.tobytes() == b.tobytes()
    assert first.plan.hash == second.plan.hash


@pytest.mark.parametrize("method", METHODS)
def test_order_in_which_sites_are_given_does_not_matter(method: str) -> None:
    """Catches a sum in the order of a dictionary or of arrival."""
    study = case(method)
    tables = study.tables()
    backwards = dict(reversed(tables.items()))
    assert list(backwards) != list(tables)
    (first, a), (second, b) = run_case(study, tables), run_case(study, backwards)
    same_bytes(first.shared, second.shared)
    assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_input_is_not_written_to(method: str) -> None:
    """Catches centring in place: the site's own data would change under its feet."""
    study = case(method)
    before = study.values.copy()
    study.values.flags.writeable = False
    run_case(study)
    assert study.values.tobytes() == before.tobytes()
    assert np.isfinite(before).all()

"""Sums over sites: the same bits in whatever order replies came; what cannot be run is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.cases import case
from motet.agreement import agree
from motet.errors import PlanError
from motet.phases import Agree, Phase, Publish, Sum, Who
from motet.plan import build_plan
from motet.releases import ArraySpec
from motet.strategies import check_runnable, strategy_for
from motet.strategies.plain_sum import add, plain_sum
from motet.strategies.publish import publish
from motet.strategies.secure_sum import secure_sum

SPEC = ArraySpec(name="x", shape=("p",), meaning="a made-up sum")


def nothing(*args: Any) -> Any:
    return {}


@given(
    values=st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_order_of_arrival_does_not_change_a_bit(values: list[float], order: Any) -> None:
    """Catches a sum in the order of arrival, and float32 or 32-bit sums that overflow."""
    replies = {f"site{i}": {"x": np.array([v, 1.0])} for i, v in enumerate(values)}
    shuffled = list(replies.items())
    order.shuffle(shuffled)
    a, b = add(replies), add(dict(shuffled))
    assert a["x"].tobytes() == b["x"].tobytes()
    total = 0.0
    for value in values:
        total += value
    assert a["x"].tolist() == [total, len(values)]


def test_counts_do_not_overflow_and_small_floats_are_widened() -> None:
    """Catches an int32 count of three large sites, and a sum in float32."""
    big = {"n": np.array([2**31 - 1], dtype=np.int32), "f": np.array([1e-3], dtype=np.float32)}
    total = add({"a": big, "b": big, "c": big})
    assert total["n"].tolist() == [3 * (2**31 - 1)]
    assert total["f"].dtype == np.float64
    assert total["f"][0] == 3 * float(np.float32(1e-3))


def test_a_sum_leaves_the_replies_alone() -> None:
    """Catches adding in place: the first site's reply would be the total."""
    first = np.ones(3)
    add({"a": {"x": first}, "b": {"x": first}})
    assert first.tolist() == [1, 1, 1]


def test_published_arrays_carry_their_site() -> None:
    """Catches one site's array under another's name."""
    phase = Publish(name="p", arrays=(SPEC,), at_site=nothing)
    replies = {"b": {"x": np.ones(1)}, "a": {"x": np.zeros(1)}}
    shared = publish(phase, lambda phase, shared: replies, {})
    assert {name: float(array[0]) for name, array in shared.items()} == {"a/x": 0.0, "b/x": 1.0}


def test_each_phase_has_its_strategy() -> None:
    """Catches a sum that goes out unmasked where the plan says that nobody reads it."""
    for secure in (True, False):
        study = replace(case("combat", n=(12, 12, 12)), secure=secure)
        plan = build_plan(
            study.study, agree([table.described for table in study.tables().values()])
        )
        chosen = strategy_for(plan.phase_at("moments"), plan)
        assert chosen is (secure_sum if secure else plain_sum)
        assert strategy_for(Publish(name="p", arrays=(SPEC,), at_site=nothing), plan) is publish


SUM = Sum(name="s", arrays=(SPEC,), at_site=nothing, at_coordinator=nothing)
CANNOT = {
    "second agreement": Agree(name="again", equal=("features",)),
    "capability": replace(SUM, who=Who(having="T2w")),
    "holders": replace(SUM, who=Who(holders="traveler")),
    "held-out people": replace(SUM, on="held_out"),
    "harmonized values": replace(SUM, reads="harmonized"),
    "keyed": replace(SUM, key="traveler"),
    "unreadable": replace(SUM, read_by="holders"),
}


@pytest.mark.parametrize("what", CANNOT)
def test_what_this_version_cannot_run_is_refused_before_anything_leaves(what: str) -> None:
    """Catches a phase run as if it asked for less: a keyed sum as a plain one."""
    study = case(p=3)
    plan = build_plan(study.study, agree([t.described for t in study.tables().values()]))
    check_runnable(plan)
    phase: Phase = CANNOT[what]
    with pytest.raises(PlanError, match=f"'{phase.name}'"):
        check_runnable(replace(plan, steps=(*plan.steps, phase)))

"""The phases can say what every later method needs, before any of it is written."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from kernel.plans import calamiti, mispel_b, murd
from kernel.plans.catalog import METHODS, PARAMS, SCHEMA, plan_of, with_steps
from motet.config import Study
from motet.describe import describe
from motet.errors import DesignError, PlanError
from motet.harmonizer import Params
from motet.phases import Agree, Local, Repeat, Step, Sum, walk
from motet.plan import Release, build_plan
from motet.plan_checks import check_steps
from motet.registry import Registry
from motet.releases import Leaves, nbytes
from motet.schema import Schema
from motet.store import canonical_json
from motet.strategies import check_runnable
from motet.training.phase import Train

each_method = pytest.mark.parametrize("name", METHODS)


def release_of(name: str, array: str, phase: str, **params: Any) -> Release:
    found = [r for r in plan_of(name, **params).releases() if r.spec.name == array]
    return next(r for r in found if r.phase == phase)


def steps_of(name: str) -> tuple[Step, ...]:
    """What a fit and a newcomer do."""
    plan = plan_of(name)
    return (*plan.steps, *METHODS[name].join(plan.params, SCHEMA))


def trains(name: str) -> list[Train]:
    return [phase for phase in plan_of(name).phases if isinstance(phase, Train)]


# Declared, described, hashed


@each_method
def test_the_kernel_accepts_the_plan_and_the_method(name: str) -> None:
    check_steps(plan_of(name).steps, SCHEMA)
    check_steps(METHODS[name].join(plan_of(name).params, SCHEMA), SCHEMA)
    Registry().register(METHODS[name])


@each_method
def test_a_study_file_leads_to_the_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    registry.register(METHODS[name])
    monkeypatch.setattr("motet.plan.methods", lambda: registry)
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


# What would leave, at paper size


def test_calamiti_declares_the_parameters_of_the_paper() -> None:
    networks, fusion = trains("calamiti")
    assert sum(calamiti.PARAMETERS.values()) == 11_397_578  # 11.40 M
    assert sum(calamiti.PARAMETERS[head] for head in calamiti.HEADS) == 77_848
    leaving = sum(
        nbytes(spec, SCHEMA.sizes) for spec in networks.releases if "float32" in spec.dtype
    )
    assert leaving == 4 * (11_397_578 - 77_848)
    assert nbytes(fusion.releases[0], SCHEMA.sizes) == 4 * 19_713


def test_murd_declares_the_parameters_of_the_paper() -> None:
    (networks,) = trains("murd")
    size = {spec.name: nbytes(spec, SCHEMA.sizes) // 4 for spec in networks.releases}
    assert len(SCHEMA.batches) == 3
    assert size["content_encoder"] == 5_390_848
    assert size["style_encoder"] + size["style_encoder_heads"] == 4_977_184
    assert size["style_generator"] + size["style_generator_heads"] == 109_504
    assert size["generator"] == 8_416_963
    assert size["discriminator"] + size["discriminator_heads"] == 660_419
    groups = [group.name for group in networks.groups]
    assert sum(size[group] for group in groups) == 19_554_918  # 19.55 M, 78 MB
    assert sum(murd.HEADS.values()) == 41_345


def conv(kernel: int, *channels: int, norm: bool = True) -> int:
    """Parameters of convolutions in a row, each with an affine norm or none."""
    return sum(kernel**2 * i * o + o + 2 * o * norm for i, o in pairwise(channels))


def unet(i: int, o: int, base: int) -> int:
    widths = [base * 2**level for level in range(6)]
    down = sum(conv(3, a, b, b) for a, b in pairwise(widths))
    up = sum(conv(3, b, b // 2) + conv(3, b, b // 2, b // 2) for b in widths[2:])
    return conv(3, i, base, norm=False) + down + up + conv(3, 2 * base, o, norm=False)


def test_declared_counts_follow_from_the_layers() -> None:
    """Catches a wrong count, which would let a wrong array pass the gate, or stop the right."""
    theta_heads = 2 * (conv(1, 128, 32) + conv(18, 32, 2, norm=False))
    critic = conv(4, 5, 16, 64, 64) + conv(1, 64, 16) + conv(1, 16, 1, norm=False)
    counts = {
        "beta_encoder": unet(1, 16, 8),
        "beta_head": conv(3, 16, 16, 32, 64) + conv(3, 64, 4, norm=False),
        "theta_encoder": conv(4, 1, 32, 64, 128, 128),
        "theta_heads": theta_heads,
        "decoder": unet(6, 1, 16),
        "beta_discriminator": critic,
    }
    assert counts == calamiti.PARAMETERS
    blocks = [
        conv(3, a, b, b, norm=False) + conv(1, a, b, norm=False)
        for a, b in pairwise((32, 64, 128, 256, 512))
    ]
    trunks = {
        "content_encoder": conv(7, 3, 64) + conv(4, 64, 128, 256) + 4 * conv(3, 256, 256, 256),
        "style_encoder": conv(4, 3, 32, norm=False) + sum(blocks),
        "style_generator": conv(1, 16, *[128] * 6, norm=False),
        "generator": 4 * conv(3, 320, 320, 320)
        + conv(4, 320, 160, 80)
        + conv(7, 80, 3, norm=False),
        "discriminator": conv(4, 3, 64, norm=False) + conv(4, 64, 128, 256),
    }
    assert trunks == murd.TRUNKS
    linear = [conv(1, i, o, norm=False) for i, o in ((512, 64), (128, 64), (256, 1))]
    assert linear == list(murd.HEADS.values())
    after_skips = conv(3, 128, 64, 64, 32, norm=False) + conv(3, 64, 32, 32, 6, norm=False)
    encoder = conv(3, 1, 32, 32, 64, 64, 128, 128, 64, norm=False) + after_skips
    assert encoder == mispel_b.UNIT["encoder"]


@each_method
def test_a_train_phase_declares_every_group_that_leaves_and_no_local_one(name: str) -> None:
    for train in trains(name):
        leaving = {spec.name for spec in train.releases}
        kept = {group.name for group in train.groups if group.keeper == "local"}
        owned = {group.name for group in train.groups if group.keeper == "owned"}
        assert {group.name for group in train.groups} - kept < leaving
        assert not kept & leaving
        assert {spec.name for spec in train.releases if "batches" in spec.shape} == owned
        assert train.leaves == Leaves.UPDATE


def test_calamiti_trains_its_critic_on_even_steps_and_the_rest_on_odd_ones() -> None:
    critic, rest = trains("calamiti")[0].updates
    assert [(u.period, u.offset) for u in (critic, rest)] == [(2, 0), (2, 1)]
    assert set(critic.groups) | set(rest.groups) == set(calamiti.PARAMETERS)
    assert not set(critic.groups) & set(rest.groups)


def test_a_mispel_unit_never_leaves() -> None:
    assert sum(mispel_b.UNIT.values()) == 518_860
    sizes = {
        size for phase in plan_of("mispel_b").phases for s in phase.releases for size in s.shape
    }
    assert not sizes & {518_854, 518_860}


def test_mispel_says_what_full_resolution_costs() -> None:
    """18 travelers: 3.4 GB for one exchange; stride 2 and a fifth of the slices: 20 times less."""
    full = release_of("mispel_b", "z", "embeddings")
    assert 18 * full.bytes == pytest.approx(3.4e9, rel=0.02)
    assert full.times == 20
    thin = release_of("mispel_b", "z", "embeddings", stride=2, slices=36)
    assert full.bytes / thin.bytes == pytest.approx(20, rel=0.02)


def test_ravel_leaves_what_its_description_says() -> None:
    """Control mask of 3,000 voxels, 60,000 in the brain, k = 2."""
    size = {"voxels": 60_000, "control_at_most": 3_000, "components": 2, "chunk": 20_000}
    subspace = release_of("ravel", "vvq", "subspace", **size)
    assert (subspace.bytes, subspace.times) == (168_000, 8)
    loadings = release_of("ravel", "zv", "loadings", **size)
    assert loadings.bytes * loadings.times == 960_000
    mean = release_of("ravel", "sum_v", "loadings", **size)
    assert mean.bytes * mean.times == 480_000


def test_consent_to_the_control_mask_has_a_limit() -> None:
    plan = plan_of("ravel", control_at_most=100)
    assert plan.sizes({"control_voxels": np.arange(100)})["control_voxels"] == 100
    with pytest.raises(PlanError, match="'control_voxels' became 101, more than the 100"):
        plan.sizes({"control_voxels": np.arange(101)})


def test_a_phase_before_the_mask_cannot_use_its_size() -> None:
    steps = plan_of("ravel").steps
    with pytest.raises(PlanError, match="control_voxels"):
        check_steps([s for s in steps if s.name != "control_mask"], SCHEMA)


@pytest.mark.parametrize("name", ["mispel_b", "mica"])
def test_a_travelers_anatomy_needs_that_persons_consent_and_is_not_read_on_the_way(
    name: str,
) -> None:
    params = {"sponsor": "a", "newcomer": "b"} if name == "mispel_b" else {}
    plan = plan_of(name, **params)
    steps = (*plan.steps, *METHODS[name].join(plan.params, SCHEMA))
    seen = 0
    for phase, _ in walk(steps):
        if not any(spec.support == "person" for spec in phase.releases):
            continue
        seen += 1
        if isinstance(phase, Sum):
            assert (phase.key, phase.read_by) == ("traveler", "holders")
            assert phase.who.holders == "traveler"
        else:
            assert getattr(phase, "sealed", "") == "recipient"
            assert phase.leaves == Leaves.PERSONAL
    assert seen == {"mispel_b": 4, "mica": 1}[name]


def test_mica_sends_four_kilobytes_a_traveler() -> None:
    found = list(plan_of("mica", travelers=("t1", "t2")).releases())
    assert [(r.spec.name, r.bytes, r.leaves) for r in found] == [
        ("t1/quantiles", 4_000, Leaves.PERSONAL),
        ("t2/quantiles", 4_000, Leaves.PERSONAL),
    ]


@pytest.mark.parametrize("name", ["calamiti", "murd", "mispel_b", "ravel", "mica"])
def test_nothing_leaves_a_newcomer(name: str) -> None:
    steps = METHODS[name].join(plan_of(name).params, SCHEMA)
    assert all(isinstance(phase, Local) and phase.leaves is None for phase, _ in walk(steps))


# What this version says to plans that it cannot run yet


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ravel", "'template' of 'ravel' needs a second agreement"),
        ("calamiti", "'slices' of 'calamiti' needs all people"),
        ("murd", "'styles' of 'murd' needs a choice of sites"),
        ("mispel_b", "'travelers' of 'mispel_b' needs a second agreement"),
        ("mica", "'quantiles' of 'mica' needs sealed releases"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_by_the_name_of_its_phase(
    name: str, says: str
) -> None:
    with pytest.raises(PlanError, match=says):
        check_runnable(plan_of(name))


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


def test_consent_to_training_covers_every_exchange_and_validation() -> None:
    """Catches a plan that asks for one exchange and then makes 20,000."""
    assert release_of("calamiti", "beta_discriminator", "networks").times == 20_000
    assert release_of("calamiti", "losses", "networks").times == 40_000
    assert release_of("calamiti", "validation", "networks").times == 40_000 // 500 + 1


@pytest.mark.parametrize("name", ["mispel_b"])
def test_a_sum_that_moves_a_travelers_anatomy_is_classed_as_personal(name: str) -> None:
    """Catches anatomy that would be printed, and consented to, as an ordinary sum."""
    sums = [
        phase
        for phase, _ in walk(plan_of(name).steps)
        if isinstance(phase, Sum) and any(s.support == "person" for s in phase.releases)
    ]
    assert sums
    assert {phase.leaves for phase in sums} == {Leaves.PERSONAL}

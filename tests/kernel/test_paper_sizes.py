"""What would leave each hospital for methods at the size of their papers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from kernel.plans import calamiti, mispel_b, murd
from kernel.plans.catalog import METHODS, SCHEMA, plan_of, trains
from motet.errors import PlanError
from motet.phases import Local, Sum, walk
from motet.plan import Release
from motet.plan_checks import check_steps
from motet.releases import Leaves, nbytes

each_method = pytest.mark.parametrize("name", METHODS)


def release_of(name: str, array: str, phase: str, **params: Any) -> Release:
    found = [r for r in plan_of(name, **params).releases() if r.spec.name == array]
    return next(r for r in found if r.phase == phase)


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
    """500 numbers, and the tag of what seals them."""
    found = list(plan_of("mica", travelers=("t1", "t2")).releases())
    assert [(r.spec.name, r.bytes, r.leaves) for r in found] == [
        ("t1/quantiles", 4_016, Leaves.PERSONAL),
        ("t2/quantiles", 4_016, Leaves.PERSONAL),
    ]


@pytest.mark.parametrize("name", ["calamiti", "murd", "mispel_b", "ravel", "mica"])
def test_nothing_leaves_a_newcomer(name: str) -> None:
    steps = METHODS[name].join(plan_of(name).params, SCHEMA)
    assert all(isinstance(phase, Local) and phase.leaves is None for phase, _ in walk(steps))


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

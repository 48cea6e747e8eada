"""Pixels that sites compare."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motet.harmonizers.mispel.grid import corners, seen
from motet.harmonizers.mispel.params import SIZES, MispelParams
from motet.harmonizers.mispel.training import Training
from motet.schema import Schema
from motet.training.moment import Moment

PEOPLE = np.repeat(["T1", "T2"], 12)
PARTS = np.tile(np.arange(40, 52), 2)


@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_every_pixel_has_its_turn(stride: int) -> None:
    """Catches pixels that are never compared, which units then leave as they are; or twice."""
    turns = range(2 * stride**2)
    found = [corners(PEOPLE, PARTS, stride=stride, seed=1, turn=turn) for turn in turns]
    for k in range(len(PEOPLE)):
        for half in (found[: stride**2], found[stride**2 :]):
            assert len({tuple(at[k].tolist()) for at in half}) == stride**2


def test_a_grid_depends_on_person_slice_turn_and_seed_alone() -> None:
    """Catches sites of which each compares other pixels with the same mean: one that stacks
    another order of people, or a newcomer with one of them."""
    every = corners(PEOPLE, PARTS, stride=4, seed=1, turn=5)
    one = corners(PEOPLE[12:], PARTS[12:], stride=4, seed=1, turn=5)
    assert np.array_equal(every[12:], one)
    turned = corners(PEOPLE[::-1], PARTS[::-1], stride=4, seed=1, turn=5)
    assert np.array_equal(turned[::-1], every)
    for seed, turn in ((2, 5), (1, 6), (1, 21)):
        assert not np.array_equal(corners(PEOPLE, PARTS, stride=4, seed=seed, turn=turn), every)
    # A new scanner is fitted to one exchange: that has all corners.
    assert len(np.unique(every[:12], axis=0)) == 12


def test_a_grid_goes_on_at_the_other_edge() -> None:
    maps = torch.arange(2 * 3 * 7 * 8.0).view(2, 3, 7, 8)
    found = seen(maps, torch.tensor([[0, 0], [2, 1]]), 3)
    assert torch.equal(found[0], maps[0, :, ::3, ::3])
    assert torch.equal(found[1], maps[1][:, [2, 5, 1]][:, :, [1, 4, 7]])


def test_the_coupling_rises_to_its_weight() -> None:
    """Catches a coupling that holds units where they began, and one that never comes to itself."""
    training = Training(MispelParams(rising=0.5), Schema.__new__(Schema))
    weight = [
        training.rising(Moment(step=k, steps=100, per_epoch=10.0))["coupling"] for k in range(100)
    ]
    assert weight[0] == pytest.approx(1e-3)
    assert (np.diff(weight[:51]) > 0).all()
    assert weight[50:] == [1.0] * 50
    update = training.update(1, "embedding")
    assert update.weighing == training.rising
    assert training.update(1, "harmonization").weighing is None
    # As published it is the same throughout.
    assert MispelParams(train={"preset": "paper"}).rising == 0
    assert SIZES["paper"].spread == 0.05

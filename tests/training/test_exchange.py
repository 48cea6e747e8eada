"""Exchanges: declared as they are, the same when done again, bounded by what can be counted."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from motet.scale import Magnitudes
from motet.strategies.fedadam import adapt
from motet.training.at_site import train_at_site
from motet.training.coordinator import Trainer
from motet.training.exchange import exchange
from motet.training.phase import WEIGHT, Train
from training.toy import BATCH, SHARED, options, sites_of, toy

SIZES = {"batches": 5}
WHERE = (0, 0, 1, 2, 2)


def local(**given: Any) -> Any:
    return options(mode="local", **{"steps": 16, "local_steps": 8, **given})


@pytest.mark.parametrize(
    "train",
    [
        toy(options(validation=0.1)),
        toy(local(), every=2),
        toy(local(warm_up=4, server="scaffold"), every=2),
    ],
    ids=["exact", "local", "warm-up"],
)
def test_what_leaves_is_what_was_declared(train: Train) -> None:
    """Catches arrays that a hospital consented to as smaller than they are, or not at all."""

    def size(spec: Any) -> int:
        return int(np.prod([SIZES.get(n, n) for n in spec.shape]))

    declared = {spec.name: spec for spec in train.releases}
    sent: dict[str, int] = {}
    for number in range(train.exchanges(train.steps(len(BATCH)))):
        for spec in train.arrays(train.turn(number)):
            assert spec.dtype == declared[spec.name].dtype
            sent[spec.name] = max(sent.get(spec.name, 0), size(spec))
    assert {name: size(declared[name]) for name in sent} == sent
    assert set(declared) - set(sent) <= {"validation", "validated"}


@pytest.mark.parametrize("how", [options(steps=6), local(local_steps=2, steps=8)], ids=str)
def test_an_exchange_that_is_done_again_is_the_same(how: Any) -> None:
    """Catches networks that never leave and are stepped twice, where an exchange is repeated by a
    process that has them at hand: what it kept is rolled back, its memory is not."""
    train = toy(how, keeper="local")
    trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
    site = sites_of(WHERE)["site 0"]
    for turn in map(train.turn, range(train.exchanges(train.steps(len(BATCH))))):
        told = {**SHARED, **trainer.told(turn)}
        before, first = copy.deepcopy(site.keep), None
        for _ in range(2):
            site.keep = copy.deepcopy(before)
            sent = train_at_site(train, turn, site, told)  # type: ignore[arg-type]
            now = {name: array.tobytes() for name, array in {**sent, **site.keep}.items()}
            assert first in (None, now)
            first = now
    assert "toy.critic" in site.keep
    assert not [name for name in site.keep if name.endswith("critic.samples")]


def test_masks_hold_what_slices_and_rare_exchanges_come_to() -> None:
    """Catches bounds that count people where slices are weighed, or the steps of one turn where a
    group counts by those since it last left."""
    train = toy(local(batch=0), every=2, strata="", counted="slices")
    turn = train.turn(3)
    size = Magnitudes(
        rows=4, features=np.ones(1), columns=np.ones(0), judged_columns=np.ones(0), voxels=1.0
    )
    bound = exchange(replace(train, masked=True), turn).bounds
    assert bound is not None
    slices = 13 * 60
    assert np.min(bound(size, {"slices": np.asarray(slices)})[WEIGHT]) >= slices * 8


def test_a_group_that_nobody_trained_stays() -> None:
    """Catches momentum of the coordinator's optimizer that carries on networks for which no site
    had a sample, and running means of these."""
    train = toy(local(server="fedadam"))
    trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
    found = []
    for number, samples in enumerate(
        ({"critic": 8, "encoder": 8, "heads": 8}, {"critic": 8, "encoder": 0, "heads": 8})
    ):
        turn = train.turn(number)
        sums = {
            spec.name: np.full([SIZES.get(n, n) for n in spec.shape], samples.get(spec.name, 1))
            for spec in train.arrays(turn)
        }
        sums[WEIGHT] = np.array([samples[name] for name in turn.leaving], dtype=np.float64)
        adapt(trainer, turn, sums)
        found.append(trainer.model())
    first, second = found
    assert first["toy.encoder"].tobytes() == second["toy.encoder"].tobytes()
    assert not np.array_equal(first["toy.critic"], second["toy.critic"])


def test_a_running_mean_moves_by_the_updates_of_its_group() -> None:
    """Catches steps in which a group's update does not run, counted as if it did."""
    train = toy(local(local_steps=8))
    groups = tuple(replace(g, ema=0.9 if g.name == "critic" else 0.0) for g in train.groups)
    train = replace(train, groups=groups)
    trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
    turn = train.turn(0)
    first = trainer.told(turn)["toy.critic"]
    length = len(first) - 3  # without the vector of the spectral norm
    changes = {n: np.zeros_like(trainer.told(turn)[f"toy.{n}"]) for n in turn.leaving}
    changes["critic"] = np.ones_like(first)
    trainer.move(turn, changes, {})
    # Every second step is one of the critic's.
    mean = first + (1.0 - 0.9**4)
    found = trainer.model()["toy.critic"]
    np.testing.assert_allclose(found[:length], mean[:length], rtol=0, atol=1e-12)

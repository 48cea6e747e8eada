"""Exact mode of CALAMITI, critic and generator, is training in one place."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from motet.site import draw
from motet.strategies.exact import exact
from motet.strategies.in_place import InPlace
from motet.training.at_site import train_at_site
from motet.training.coordinator import Trainer
from motet.training.draws import Draws
from motet.training.networks import build
from motet.training.order import Order
from motet.training.phase import Train, Update
from training.slabs import COUNT, SHARED, SIZES, of_people, phase, sites_of

SPLITS = [(0, 1, 2, 3, 4), (2, 0, 1, 0, 2)]
MODES: dict[str, dict[str, Any]] = {
    "pairs": {},
    "one contrast, augmented": {
        "contrasts": 1,
        "second": "",
        "augment": 0.2,
        "augment_gain": 0.1,
        "augment_shading": 0.1,
    },
}


class Pooled:
    """A plain loop over all slices, with torch's own means and optimizers."""

    def __init__(self, train: Train, contrasts: int, seed: int = 3) -> None:
        self.train = train
        torch.manual_seed(int(draw(seed, "first weights", train.name).integers(2**63)))
        self.net = train.build(SIZES).double()
        self.samples = of_people(np.arange(COUNT // 3), contrasts=contrasts)
        self.keys = self.samples.keys(seed)
        self.order = Order.alike(self.keys, per_epoch=train.per_epoch(COUNT))
        self.adam = {
            update.name: torch.optim.Adam(
                [p for name in update.groups for p in getattr(self.net, name).parameters()],
                lr=update.optimizer["lr"],
            )
            for update in train.updates
        }

    def loss(self, update: Update, step: int) -> Tensor:
        rows, given = self.order.due(step), self.samples
        draws = Draws(torch.from_numpy(self.keys[rows]), step, torch.float64)
        other = given.drawn["other"]
        which = draws.uniform("which other", 1)[:, 0].numpy() * other.count[rows]
        batch = {
            "x": torch.from_numpy(given.arrays["x"][rows]),
            "other": torch.from_numpy(other.array[other.first[rows] + which.astype(int)]),
            "brain": torch.from_numpy(given.arrays["brain"][rows]),
            "label": torch.from_numpy(given.arrays["label"][rows]),
            "cumulated": torch.from_numpy(given.constants["cumulated"]),
        }
        losses = update.losses(self.net, batch, draws)
        return sum(update.weights[name] * value.mean() for name, value in losses.items())  # type: ignore[return-value]

    def step(self, step: int) -> None:
        for update in self.train.updates:
            if not update.runs(step):
                continue
            optimizer, rate = self.adam[update.name], update.optimizer["lr"]
            self.net.zero_grad()
            self.loss(update, step).backward()
            optimizer.param_groups[0]["lr"] = rate * _falling(step, self.train.steps(COUNT))
            optimizer.step()
            for name in update.groups:
                for module in getattr(self.net, name).modules():
                    if hasattr(module, "refresh"):
                        module.refresh()


def _falling(step: int, steps: int) -> float:
    from motet.training.moment import Moment, falling

    return falling(Moment(step=step, steps=steps, per_epoch=1.0))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", SPLITS, ids=str)
def test_gradients_at_equal_parameters_are_those_of_everybody_together(
    where: tuple[int, ...], mode: str
) -> None:
    """Catches terms across samples, labels that know the site, and a slice that is drawn by it."""
    train = phase(**MODES[mode])
    pooled = Pooled(train, MODES[mode].get("contrasts", 2))
    sites = sites_of(where)
    for number in range(2):  # critic, then generator
        turn = train.turn(number)
        update = train.update(turn.update)
        told = Trainer(train, sizes=SIZES, seed=3, samples=COUNT).told(turn)
        sent = [train_at_site(train, turn, s, {**SHARED, **told}) for s in sites.values()]  # type: ignore[arg-type]
        count = sum(int(one["samples"][0]) for one in sent)
        assert count == len(pooled.order.due(turn.first)) > 0
        pooled.net.zero_grad()
        pooled.loss(update, turn.first).backward()
        for name in turn.leaving:
            parameters = list(getattr(pooled.net, name).parameters())
            want = torch.cat([p.grad.reshape(-1) for p in parameters]).numpy()
            got = sum(one[name] for one in sent)[: len(want)] / count
            assert np.abs(want).max() > 0
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())


@cache
def trained_together() -> tuple[Pooled, dict[str, np.ndarray]]:
    """After twenty steps, and the groups of the generator as they began."""
    train = phase()
    pooled = Pooled(train, 2)
    before = {name: _flat(getattr(pooled.net, name)) for name in train.turn(1).leaving}
    for step in range(20):
        pooled.step(step)
    return pooled, before


@pytest.mark.parametrize("where", SPLITS, ids=str)
def test_parameters_after_twenty_steps_are_those_of_everybody_together(
    where: tuple[int, ...],
) -> None:
    """Catches a critic that runs in the wrong steps, a temperature of a site's own step, spectral
    norms that stay behind."""
    train = phase()
    pooled, before = trained_together()
    ask = InPlace(sites=sites_of(where), sizes=SIZES, seed=3)  # type: ignore[arg-type]
    found = exact(train, ask, SHARED)
    networks = build(train, SIZES, seed=3)
    for group in train.groups:
        networks.load(group.name, found[f"{train.name}.{group.name}"])
        got, want = (
            _flat(getattr(networks.module, group.name)),
            _flat(getattr(pooled.net, group.name)),
        )
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-10, err_msg=group.name)
        if group.name in before:
            assert np.abs(want - before[group.name]).max() > 1e-3


def _flat(net: torch.nn.Module) -> np.ndarray:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).numpy()

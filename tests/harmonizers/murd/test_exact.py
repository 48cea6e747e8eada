"""Exact mode of MURD, every head and R1 included, is training in one place."""

from __future__ import annotations

from functools import cache

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
from training.triplets import COUNT, SHARED, SIZES, of_people, phase, sites_of

SPLITS = [(0, 1, 2, 3, 4), (2, 0, 1, 0, 2)]
"""The site of each of the five scanners, who have 1 to 5 people."""
NEAR = {"tiny": 1e-12, "small": 1e-11}
"""Of the largest entry; norms within the brain subtract squares."""
each_split = pytest.mark.parametrize("where", SPLITS, ids=str)
each_preset = pytest.mark.parametrize("preset", ["tiny", "small"])


class Pooled:
    """A plain loop over everybody, with torch's own means and optimizers."""

    def __init__(self, train: Train, seed: int = 3) -> None:
        self.train = train
        torch.manual_seed(int(draw(seed, "first weights", train.name).integers(2**63)))
        self.net = train.build(SIZES).double()
        self.samples = of_people(np.arange(COUNT))
        self.keys = self.samples.keys(seed)
        self.order = Order.in_turn(
            self.keys, self.samples.batch, size=train.options.batch, batches=5, seed=seed
        )
        self.adam = {}
        for update in train.updates:
            given = dict(update.optimizer)
            slower, rate = given.get("lr_of", {}), given["lr"]
            parts = [
                {"params": list(getattr(self.net, n).parameters()), "lr": slower.get(n, rate)}
                for n in update.groups
            ]
            self.adam[update.name] = torch.optim.Adam(parts, betas=given["betas"])
        self.rates = {k: [g["lr"] for g in a.param_groups] for k, a in self.adam.items()}
        self.ema = {g.name: flat(getattr(self.net, g.name)) for g in train.groups if g.ema}

    def loss(self, update: Update, step: int) -> Tensor:
        rows, given = self.order.due(step), self.samples
        draws = Draws(torch.from_numpy(self.keys[rows]), step, torch.float64)
        batch = {n: torch.from_numpy(d.array[d.first[rows]]) for n, d in given.drawn.items()}
        batch |= {"label": torch.from_numpy(given.arrays["label"][rows])}
        batch |= {"order": torch.from_numpy(given.constants["order"])}
        losses = update.losses(self.net, batch, draws)
        done = step / self.train.steps(COUNT)
        weights = dict(update.weights)
        if "diversity" in weights:
            weights["diversity"] *= 1.0 - done
        return sum(weights[name] * value.mean() for name, value in losses.items())  # type: ignore[return-value]

    def step(self, step: int) -> None:
        done = step / self.train.steps(COUNT)
        for update in self.train.updates:
            optimizer = self.adam[update.name]
            self.net.zero_grad()
            self.loss(update, step).backward()
            for part, rate in zip(optimizer.param_groups, self.rates[update.name], strict=True):
                part["lr"] = rate * min(1.0, 2.0 * (1.0 - done))
            optimizer.step()
        for name, before in self.ema.items():
            decay = self.train.group(name).ema
            self.ema[name] = decay * before + (1.0 - decay) * flat(getattr(self.net, name))


def flat(net: torch.nn.Module) -> np.ndarray:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).numpy().copy()


@cache
def trained_together() -> Pooled:
    pooled = Pooled(phase())
    for step in range(20):
        pooled.step(step)
    return pooled


@each_preset
@each_split
def test_gradients_at_equal_parameters_are_those_of_everybody_together(
    where: tuple[int, ...], preset: str
) -> None:
    """Catches terms across samples, a target that knows the site, a head that others' fakes do not
    reach, and a penalty whose second derivative is lost."""
    train = phase(preset)
    pooled, sites = Pooled(train), sites_of(where)
    for number, update in enumerate(train.updates):
        turn = train.turn(number)
        told = Trainer(train, sizes=SIZES, seed=3, samples=COUNT).told(turn)
        sent = [train_at_site(train, turn, s, {**SHARED, **told}) for s in sites.values()]  # type: ignore[arg-type]
        count = sum(int(one["samples"][0]) for one in sent)
        assert count == len(pooled.order.due(turn.first)) > 0
        pooled.net.zero_grad()
        pooled.loss(update, turn.first).backward()
        networks = build(train, SIZES, seed=3)
        for name in turn.leaving:
            parameters = list(getattr(pooled.net, name).parameters())
            want = torch.cat([p.grad.reshape(-1) for p in parameters]).numpy()
            got = networks.flat(name, torch.from_numpy(sum(one[name] for one in sent))).numpy()
            assert np.abs(want).max() > 0
            near = NEAR[preset] * np.abs(want).max()
            np.testing.assert_allclose(got / count, want, rtol=0, atol=near)


@each_split
def test_parameters_after_twenty_steps_are_those_of_everybody_together(
    where: tuple[int, ...],
) -> None:
    """Catches heads whose gradients come from their owner alone, a schedule of a site's own step,
    and a style generator at full rate. What is given out is the running mean."""
    train, pooled = phase(), trained_together()
    start = Pooled(train)
    ask = InPlace(sites=sites_of(where), sizes=SIZES, seed=3)  # type: ignore[arg-type]
    found = exact(train, ask, SHARED)
    networks = build(train, SIZES, seed=3)
    for group in train.groups:
        networks.load(group.name, found[f"{train.name}.{group.name}"])
        got, before = (
            flat(getattr(networks.module, group.name)),
            flat(getattr(start.net, group.name)),
        )
        want = pooled.ema.get(group.name, flat(getattr(pooled.net, group.name)))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-10, err_msg=group.name)
        assert np.abs(want - before).max() > 1e-6, group.name

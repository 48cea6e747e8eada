"""A site in the middle of a private study: its people, the networks, entropy that is repeatable."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from conformance.cases import Case, case
from motet.agreement import agree
from motet.client.local_site import LocalSite
from motet.plan import Plan, build_plan
from motet.strategies import strategy_for
from motet.strategies.in_place import InPlace
from motet.training import noise
from motet.training.feed import Feed
from motet.training.gradients import losses_of, weights_at
from motet.training.moment import Moment
from motet.training.networks import Networks, build, joined
from motet.training.phase import Train, Turn

DP = {"epsilon": 8.0, "delta": 1e-4, "clip": 1.0}
SITE = "site-b0"
Array = np.ndarray


def private_case(dp: Mapping[str, float] | None = None, **train: Any) -> Case:
    study = case("deepcombat", n=(12, 14, 13), p=5, covariates=("age",))
    return replace(study, dp=DP if dp is None else dp, train={**study.train, **train})


def fake_entropy(patch: pytest.MonkeyPatch, seed: int = 0) -> Callable[[], int]:
    """Bytes of a counter's hash in place of the operating system's; says how many were taken."""
    calls, taken = itertools.count(), [0]

    def urandom(count: int) -> bytes:
        taken[0] += count
        return hashlib.shake_256(f"{seed} {next(calls)}".encode()).digest(count)

    patch.setattr(noise, "urandom", urandom)
    return lambda: taken[0]


@dataclass(frozen=True, kw_only=True)
class World:
    """One site before its training, three rows of it one person's, and a plan with noise."""

    plan: Plan
    train: Train
    site: LocalSite
    shared: dict[str, Array]

    @property
    def turn(self) -> Turn:
        return self.train.turn(0)

    @property
    def networks(self) -> Networks:
        networks = build(self.train, self.site.schema.sizes, seed=0)
        for group in self.train.groups:
            networks.load(group.name, self.shared[f"cvae.{group.name}"])
        return networks

    def feed(self, networks: Networks, x: Array | None = None) -> Feed:
        samples = self.train.samples(self.site, self.shared)
        if x is not None:
            samples = replace(samples, arrays={**samples.arrays, "x": x})
        return Feed(samples, samples.keys(0), dtype=networks.dtype, device=networks.device)

    @property
    def people(self) -> list[Array]:
        """Rows of every person, in the order of their names."""
        names = self.site.data.people.tolist()
        return [np.array([i for i, n in enumerate(names) if n == who]) for who in sorted({*names})]

    @property
    def moment(self) -> Moment:
        return Moment(step=0, steps=6, per_epoch=4.0)


def world(dp: Mapping[str, float] | None = None, **train: Any) -> World:
    study = private_case(dp, **train)
    tables = study.tables()
    people = tables[SITE].people.copy()
    people[[1, 4, 7]] = people[1]
    tables[SITE] = replace(tables[SITE], people=people)
    schema = agree([table.described for table in tables.values()])
    plan = build_plan(study.study, schema)
    sites = {name: LocalSite(name=name, schema=schema, data=t) for name, t in tables.items()}
    ask, shared = InPlace(sites=sites, sizes=schema.sizes), dict[str, Array]()
    phases = itertools.takewhile(lambda phase: not isinstance(phase, Train), plan.steps[1:])
    for phase in phases:
        shared |= strategy_for(phase, plan)(phase, ask, shared)
    (training,) = (phase for phase in plan.phases if isinstance(phase, Train))
    networks = build(training, schema.sizes, seed=0)
    rng = np.random.default_rng(0)
    for group in training.groups:  # batches' columns begin at zero, where a gradient hides errors
        vector = networks.vector(group.name)
        shared[f"cvae.{group.name}"] = vector + rng.normal(0, 0.1, vector.shape)
    return World(plan=plan, train=training, site=sites[SITE], shared=shared)


def flat(arrays: Mapping[str, Any], names: Any) -> Array:
    return np.concatenate([np.asarray(arrays[name]).reshape(-1) for name in names])


def person(here: World, networks: Networks, feed: Feed, rows: Array) -> Array:
    """The gradient of a person, by one ordinary backward pass: an oracle of another kind."""
    (update,) = here.train.updates
    (portion,) = feed.due(rows, here.moment.step).portions()
    losses = losses_of(update.losses, networks, portion)
    weights = weights_at(update, here.moment)
    total = torch.stack([weights[name] * loss.sum() for name, loss in losses.items()]).sum()
    found = networks.gradients([total], update.groups)
    return flat({name: joined(parts) for name, parts in found.items()}, update.groups)


def clipped(gradient: Array, clip: float) -> Array:
    return gradient * min(1.0, clip / np.linalg.norm(gradient))

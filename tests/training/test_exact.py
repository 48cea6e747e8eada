"""Exact mode is training in one place: the oracle of every trained method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from motet.errors import PlanError
from motet.strategies.exact import exact
from motet.strategies.in_place import InPlace
from motet.training.at_site import train_at_site
from motet.training.coordinator import Trainer
from motet.training.networks import build
from motet.training.phase import Train
from motet.training.workshop import workshop
from training.toy import BATCH, SHARED, P, PlainSite, Pooled, options, sites_of, toy

SPLITS = [(0, 1, 2, 3, 4), (0, 0, 1, 1, 1), (2, 0, 1, 0, 2), (0, 0, 0, 0, 0)]
SIZES = {"batches": 5}


def flat(net: torch.nn.Module) -> np.ndarray:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).numpy()


@pytest.mark.parametrize("where", SPLITS, ids=str)
def test_gradients_at_equal_parameters_are_those_of_everybody_together(
    where: tuple[int, ...],
) -> None:
    """Catches a mean over a site's samples, a draw or an order that knows the site, a site without
    samples that counts, a gradient of an update's losses for another update's group."""
    train = toy(options())
    pooled = Pooled(train)
    told = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH)).told(train.turn(0))
    sites = sites_of(where)
    for number in range(3):  # generator of step 0; critic and generator of step 1
        turn = train.turn(number)
        update = train.update(turn.update)
        sent = [train_at_site(train, turn, s, {**SHARED, **told}) for s in sites.values()]  # type: ignore[arg-type]
        count = sum(int(one["samples"][0]) for one in sent)
        assert count == len(pooled.order.due(turn.first)) > 0
        pooled.net.zero_grad()
        pooled.loss(update, turn.first).backward()
        for name in turn.leaving:
            module = getattr(pooled.net, name)
            expected = [
                p.grad.reshape(5, -1) if name == "heads" else p.grad.reshape(-1)
                for p in module.parameters()
            ]
            want = torch.cat(expected, dim=-1).numpy()
            got = sum(one[name] for one in sent) / count
            assert np.abs(want).max() > 1e-3
            if name != "heads":
                got = got[: len(want)]  # without buffers, whose gradient is none
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())


@pytest.mark.parametrize("where", SPLITS, ids=str)
def test_parameters_after_twenty_steps_are_those_of_everybody_together(
    where: tuple[int, ...],
) -> None:
    """Catches whatever differs only after steps: the optimizer's moments and its count of steps,
    schedules by a site's own step, spectral norms that see samples, running means, the order of
    updates."""
    train = toy(options())
    pooled = Pooled(train)
    before = flat(pooled.net)
    for step in range(20):
        pooled.step(step)
    ask = InPlace(sites=sites_of(where), sizes=SIZES, seed=3)  # type: ignore[arg-type]
    found = exact(train, ask, SHARED)
    networks = build(train, SIZES, seed=3)
    for name in ("critic", "heads"):
        networks.load(name, found[f"toy.{name}"])
        got, want = flat(getattr(networks.module, name)), flat(getattr(pooled.net, name))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)
    mean = torch.cat([m.reshape(-1) for m in pooled.mean]).numpy()
    np.testing.assert_allclose(found["toy.encoder"][: len(mean)], mean, rtol=0, atol=1e-10)
    buffers = torch.cat([b.reshape(-1) for b in pooled.net.encoder.buffers()]).numpy()
    np.testing.assert_allclose(found["toy.encoder"][len(mean) :], buffers, rtol=0, atol=1e-10)
    assert np.abs(before - flat(pooled.net)).max() > 0.05


def test_a_bias_before_a_normalization_has_no_gradient_to_speak_of() -> None:
    """The one exception of the figures: LayerNorm takes a common shift of its inputs out, so that
    of a bias in front of it nothing but rounding would be compared. The toy has a tanh between."""
    train = toy(options())
    pooled = Pooled(train)
    pooled.loss(train.update("generator"), 0).backward()
    bias = pooled.net.encoder[0].bias.grad
    assert bias is not None
    assert float(bias.abs().max()) > 1e-6


def test_a_step_in_microbatches_is_the_same_step() -> None:
    """Catches a mean over a part of a step's samples."""
    train = toy(options(steps=4))
    whole = exact(train, InPlace(sites=sites_of((0,) * 5), sizes=SIZES, seed=3), SHARED)  # type: ignore[arg-type]
    sites = sites_of((0,) * 5)
    told = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH)).told(train.turn(0))
    train_at_site(train, train.turn(0), sites["site 0"], {**SHARED, **told})  # type: ignore[arg-type]
    sites["site 0"].scratch["toy"].feed.at_once = 3
    parts = exact(train, InPlace(sites=sites, sizes=SIZES, seed=3), SHARED)  # type: ignore[arg-type]
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, rtol=0, atol=1e-13)


def test_the_toy_has_what_it_is_for() -> None:
    """The toy proves nothing of a feature that it does not have."""
    net = Pooled(toy(options())).net
    largest = torch.linalg.matrix_norm(net.encoder[0].weight.detach(), ord=2)
    assert abs(float(largest) - 1) < 1e-2
    assert net.encoder[0].in_features == P


@pytest.mark.parametrize("strata", ["", "batch"])
def test_batch_0_is_everybody_in_every_step(strata: str) -> None:
    """Catches a division by it, a step of part of the people, and shares of scanners that are 0."""
    train = toy(options(batch=0, steps=2), strata=strata)
    assert train.per_epoch(len(BATCH)) == 1.0
    sites = sites_of(SPLITS[2])
    steps = [[_due(train, site, step) for site in sites.values()] for step in range(60)]
    counts = np.sum(steps, axis=1)
    if strata:
        np.testing.assert_allclose(counts.mean(axis=0), len(BATCH) / 5, rtol=0.05)
    else:
        np.testing.assert_array_equal(counts, [np.bincount(BATCH)] * len(counts))
    exact(train, InPlace(sites=sites, sizes=SIZES, seed=3), SHARED)  # type: ignore[arg-type]


def _due(train: Train, site: PlainSite, step: int) -> np.ndarray:
    """People of a step at a site, by scanner."""
    rows = workshop(train, site, SHARED).due(step)  # type: ignore[arg-type]
    return np.bincount(BATCH[site.data[rows]], minlength=5)


def test_losses_without_gradients_are_refused() -> None:
    """Catches a loss under no_grad, or of what it detached: the training would do nothing."""
    train = toy(options())

    def forgetful(networks: Any, batch: Any, draws: Any) -> Any:
        with torch.no_grad():
            return first.losses(networks, batch, draws)

    first = train.updates[0]
    train = replace(train, updates=(replace(first, losses=forgetful), *train.updates[1:]))
    ask = InPlace(sites=sites_of((0, 0, 1, 1, 1)), sizes=SIZES, seed=3)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="without gradients"):
        exact(train, ask, SHARED)

"""Sums of gradients from what optimizers remember of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from motet.training.gradient_sum import GradientSum
from motet.training.moment import Moment
from motet.training.networks import Networks
from motet.training.optimizer import Optimizer
from motet.training.phase import Group, Update

STEPS, BEFORE, COUNT = 33, 7, 5


def summed(
    gradients: NDArray[np.float64], *, to_come: int = 0, **optimizer: Any
) -> NDArray[np.float64]:
    """The sum, (5,), of gradients (steps, 5), all or of more to come, after some that are not."""
    module = nn.Module()
    module.add_module("net", nn.Linear(4, 1))
    update = Update(
        name="all",
        groups=("net",),
        optimizer={"name": "adam", "lr": 0.1, **optimizer},
        losses=lambda networks, batch, draws: {},
        weights={"loss": 1.0},
    )
    groups = (Group(name="net", size=COUNT),)
    device = torch.device("cpu")
    networks = Networks(module, groups, batches=0, dtype=torch.float64, device=device)
    stepping = Optimizer(networks, update)

    def step(gradient: NDArray[np.float64]) -> list[torch.Tensor]:
        parts = networks.parts("net", torch.from_numpy(gradient))
        stepping.step({"net": parts}, Moment(step=0, steps=1, per_epoch=1.0))
        return parts

    for gradient in np.random.default_rng(1).standard_normal((BEFORE, COUNT)):
        step(gradient)
    found = GradientSum(stepping, "net", networks.leaves["net"], steps=max(len(gradients), to_come))
    for gradient in gradients:
        found.add(step(gradient))
    assert found.steps == len(gradients)
    return found.total().numpy()


@pytest.mark.parametrize(
    "how",
    [
        {"name": "sgd"},
        {"betas": (0.0, 0.9)},
        {"betas": (0.7, 0.9)},
        {"betas": (0.92, 0.9)},
        {"weight_decay": 0.3},
        {"maximize": True},
    ],
    ids=["sgd", "no mean", "a short mean", "few looks", "weights decay in gradients", "upwards"],
)
def test_where_looking_at_moments_does_not_do_every_gradient_is_added(how: Any) -> None:
    """Catches moments of something else that are taken for those of gradients, looks that cost more
    than they save, and means that lean to the last steps."""
    gradients = np.random.default_rng(2).standard_normal((STEPS, COUNT))
    np.testing.assert_allclose(summed(gradients, **how), gradients.sum(axis=0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize(("decay", "block"), [(0.9, 10), (0.75, 4), (0.8, 5), (0.88, 8)])
def test_every_gradient_of_a_block_weighs_as_in_a_running_mean(
    name: str, decay: float, block: int
) -> None:
    """Catches gradients from before, a last block that is not whole, blocks that weigh otherwise
    than by their steps, and gradients that are counted twice or not at all."""
    gradients = np.random.default_rng(3).standard_normal((STEPS, COUNT))
    asked = np.zeros(COUNT)
    for first in range(0, STEPS, block):
        part = gradients[first : first + block]
        weights = decay ** np.arange(len(part))[::-1]
        assert weights.min() / weights.max() > 1 / np.e
        asked += len(part) * (weights / weights.sum()) @ part
    found = summed(gradients, name=name, betas=(decay, 0.999), weight_decay=0.0)
    np.testing.assert_allclose(found, asked, rtol=0, atol=1e-12)


def test_equal_gradients_have_their_sum() -> None:
    """Catches scales that are right for one number of steps alone."""
    for steps in (1, 9, 10, 11, 40):
        found = summed(np.full((steps, COUNT), 2.5), to_come=40)
        np.testing.assert_allclose(found, 2.5 * steps, rtol=1e-12)

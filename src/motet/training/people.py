"""Gradients of single people, clipped and summed: nobody moves a sum by more than the clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from motet.errors import PlanError
from motet.training.draws import Draws
from motet.training.feed import Feed
from motet.training.gradients import weights_at
from motet.training.moment import Moment
from motet.training.networks import Networks
from motet.training.phase import Update

Int = NDArray[np.intp]
ROOM = 2**22
"""Numbers of single people's gradients that are in memory at a time."""


class _Draws(Draws):
    """The same bits where torch differentiates sample by sample: NumPy cannot look in there."""

    def _uniform64(self, purpose: str, count: int) -> Tensor:
        return self._by_torch(purpose, count)


class _Loss(nn.Module):
    """The weighted loss of one sample: what others' samples are, it cannot see."""

    def __init__(
        self,
        module: nn.Module,
        update: Update,
        step: int,
        dtype: torch.dtype,
        constants: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        self.module = module
        self._update, self._step, self._dtype = update, step, dtype
        self._constants = dict(constants)

    def forward(
        self, sample: Mapping[str, Tensor], key: Tensor, weights: Mapping[str, float]
    ) -> Tensor:
        batch = {name: array.unsqueeze(0) for name, array in sample.items()} | self._constants
        draws = _Draws(key.unsqueeze(0), self._step, self._dtype)
        losses = self._update.losses(self.module, batch, draws)
        if set(losses) != set(weights):
            raise PlanError(f"Update '{self._update.name}' has the losses {sorted(losses)}.")
        return torch.stack([weights[name] * loss.sum() for name, loss in losses.items()]).sum()


def clipped_sum(
    networks: Networks,
    update: Update,
    feed: Feed,
    people: Sequence[Int],
    moment: Moment,
    *,
    clip: float,
) -> dict[str, Tensor]:
    """Sum over people of their gradients, each no longer than `clip`.

    Parameters
    ----------
    people : sequence of (r,) int
        Rows of every person. All of them and all groups count as one vector.
    moment : Moment
    clip : float
        Largest L2 norm of a person's gradient. One that is not finite counts as zero: an error
        would tell of that person.

    Returns
    -------
    dict of str to (size,) float64 tensor
        Group -> flat sum, on the processor.
    """
    flats = {name: networks.parameters(name) for name in update.groups}
    total = {name: torch.zeros(len(flat), dtype=torch.float64) for name, flat in flats.items()}
    at_once = max(1, ROOM // max(1, sum(map(len, flats.values()))))
    for start in range(0, len(people), at_once):
        some = people[start : start + at_once]
        rows = np.concatenate(some)
        whose = torch.from_numpy(np.repeat(np.arange(len(some)), [len(r) for r in some]))
        found = {n: flat.new_zeros(len(some), len(flat)) for n, flat in flats.items()}
        for first in range(0, len(rows), at_once):
            part = slice(first, first + at_once)
            each = _of_samples(networks, update, feed, rows[part], moment, flats)
            for name, gradients in each.items():
                found[name].index_add_(0, whose[part].to(networks.device), gradients)
        squares = [
            torch.linalg.vector_norm(g, dim=1, dtype=torch.float64) ** 2 for g in found.values()
        ]
        norms = torch.stack(squares).sum(dim=0).sqrt()
        lost = ~norms.isfinite()
        factors = (clip / norms).clamp(max=1.0).masked_fill(lost, 0.0)
        for name, gradients in found.items():
            own = gradients.to(torch.float64)
            total[name] += (
                factors @ (own.masked_fill(lost[:, None], 0.0) if lost.any() else own)
            ).cpu()
    return total


def _of_samples(
    networks: Networks,
    update: Update,
    feed: Feed,
    rows: Int,
    moment: Moment,
    flats: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Group -> (B, size): the gradient of every sample."""
    loss = _Loss(networks.module, update, moment.step, networks.dtype, feed.constants)
    weights = weights_at(update, moment)

    def one(flat: Mapping[str, Tensor], sample: Mapping[str, Tensor], key: Tensor) -> Any:
        parameters = {}
        for group, vector in flat.items():
            start = 0
            for name, like in networks.module.get_submodule(group).named_parameters():
                part = vector[start : start + like.numel()]
                parameters[f"module.{group}.{name}"] = part.view(like.shape)
                start += like.numel()
        return functional_call(loss, parameters, (sample, key, weights))

    every = vmap(grad(one), in_dims=(None, 0, 0))
    found: dict[str, Tensor] = every(
        dict(flats), feed.batch(rows, feed.draws(rows, moment.step)), feed.keys(rows)
    )
    return found

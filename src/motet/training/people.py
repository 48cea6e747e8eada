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
from motet.training.gradients import Feed, weights_at
from motet.training.moment import Moment
from motet.training.networks import Networks
from motet.training.phase import Update

Int = NDArray[np.intp]
ROOM = 2**25
"""Numbers of single people's gradients that are in memory at a time."""


class _Loss(nn.Module):
    """The weighted loss of one sample: what others' samples are, it cannot see."""

    def __init__(self, module: nn.Module, update: Update, step: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self._update, self._step, self._dtype = update, step, dtype

    def forward(
        self, sample: Mapping[str, Tensor], key: Tensor, weights: Mapping[str, float]
    ) -> Tensor:
        batch = {name: array.unsqueeze(0) for name, array in sample.items()}
        draws = Draws(key.unsqueeze(0), self._step, self._dtype)
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
    flats = {name: networks.parameters[name] for name in update.groups}
    sizes = [len(flat) for flat in flats.values()]
    total = torch.zeros(sum(sizes), dtype=torch.float64, device=networks.device)
    at_once = max(1, ROOM // max(1, sum(sizes)))
    for start in range(0, len(people), at_once):
        some = people[start : start + at_once]
        rows = np.concatenate(some)
        whose = torch.from_numpy(np.repeat(np.arange(len(some)), [len(r) for r in some]))
        found = torch.zeros(len(some), sum(sizes), dtype=torch.float64, device=networks.device)
        for first in range(0, len(rows), at_once):
            part = slice(first, first + at_once)
            each = _of_samples(networks, update, feed, rows[part], moment, flats)
            found.index_add_(0, whose[part].to(networks.device), each)
        norms = found.norm(dim=1)
        factors = torch.where(norms.isfinite(), (clip / norms).clamp(max=1.0), 0.0)
        found[~norms.isfinite()] = 0.0
        total += (found * factors[:, None]).sum(dim=0)
    parts = torch.split(total.cpu(), sizes)
    return dict(zip(flats, parts, strict=True))


def _of_samples(
    networks: Networks,
    update: Update,
    feed: Feed,
    rows: Int,
    moment: Moment,
    flats: Mapping[str, Tensor],
) -> Tensor:
    """(B, sizes) float64: the gradient of every sample, groups one after another."""
    loss = _Loss(networks.module, update, moment.step, networks.dtype)
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

    each = vmap(grad(one), in_dims=(None, 0, 0))(dict(flats), feed.batch(rows), feed.keys(rows))
    return torch.cat([each[name].to(torch.float64) for name in flats], dim=1)

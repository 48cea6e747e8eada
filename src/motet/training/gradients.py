"""Summed gradients of an update over samples, and the sums of its losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motet.errors import PlanError
from motet.training.draws import Draws
from motet.training.moment import Moment
from motet.training.networks import Networks
from motet.training.phase import Losses, Update
from motet.training.samples import Samples

Int = NDArray[np.intp]


class Feed:
    """Samples as batches of tensors.

    Arrays that fit are kept on the device as they are; larger ones are read when they are due.

    Parameters
    ----------
    samples : Samples
    keys : (n,) int64
    dtype : torch.dtype
    device : torch.device
    compiled : bool
        Whether losses are compiled (``torch.compile``) when they are first computed.
    at_once : int
        Most samples of one pass through the networks: a step of more is made of several.
    """

    HELD = 2**28
    """Bytes of an array that is kept on the device."""

    def __init__(
        self,
        samples: Samples,
        keys: NDArray[np.int64],
        *,
        dtype: torch.dtype,
        device: torch.device,
        at_once: int = 4096,
        compiled: bool = False,
    ) -> None:
        self._compiled: dict[Losses, Losses] | None = {} if compiled else None
        self._dtype, self.device, self.at_once = dtype, device, at_once
        self._keys = torch.from_numpy(keys).to(device)
        self._held: dict[str, Tensor] = {}
        self._read: dict[str, NDArray[Any]] = {}
        self.constants = {n: self._tensor(np.array(a)) for n, a in samples.constants.items()}
        for name, array in samples.arrays.items():
            if array.nbytes <= self.HELD:
                self._held[name] = self._tensor(np.array(array))
            else:
                self._read[name] = array

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        found = torch.from_numpy(np.ascontiguousarray(array))
        dtype = self._dtype if found.is_floating_point() else found.dtype
        return found.to(self.device, dtype)

    def batch(self, rows: Int) -> dict[str, Tensor]:
        """What losses see of some samples, beside :attr:`constants`."""
        index = torch.from_numpy(rows).to(self.device)
        found = {name: array[index] for name, array in self._held.items()}
        if self._read:
            found |= {name: self._tensor(array[rows]) for name, array in self._read.items()}
        return found

    def keys(self, rows: Int) -> Tensor:
        """Of which their draws are made, (B,) int64."""
        return self._keys[torch.from_numpy(rows).to(self.device)]

    def made(self, losses: Losses) -> Losses:
        """Losses as they are computed: compiled where that is asked, once."""
        if self._compiled is None:
            return losses
        if losses not in self._compiled:
            self._compiled[losses] = torch.compile(losses, dynamic=True)
        return self._compiled[losses]

    def draws(self, rows: Int, step: int) -> Draws:
        """Their draws in a step."""
        return Draws(self.keys(rows), step, self._dtype)


@dataclass(kw_only=True)
class Gradients:
    """Sums over samples of one update.

    Attributes
    ----------
    of : dict of str to Tensor
        Group -> flat gradient of its parameters.
    losses : dict of str to list of Tensor
        Sums of every loss, weighted by nothing, one a pass; they are read together, later, so
        that no step waits for the device.
    samples : int
    """

    of: dict[str, Tensor]
    losses: dict[str, list[Tensor]]
    samples: int


def total_of(parts: Sequence[Tensor]) -> float:
    """The sum of numbers on a device, in float64."""
    return float(torch.stack(list(parts)).to(torch.float64).sum()) if parts else 0.0


def weights_at(update: Update, moment: Moment) -> dict[str, float]:
    """The weight of every loss in a step."""
    factors = update.weighing(moment) if update.weighing else {}
    return {name: weight * factors.get(name, 1.0) for name, weight in update.weights.items()}


def summed_gradients(
    networks: Networks,
    update: Update,
    feed: Feed,
    rows: Int,
    moment: Moment,
    *,
    mixed: bool = False,
    mean: bool = False,
) -> Gradients:
    """Gradients of the weighted losses over samples, with respect to the update's groups.

    Parameters
    ----------
    rows : (B,) int
        Which samples; nobody's gradient is zero.
    moment : Moment
    mixed : bool
        Whether losses are computed in bfloat16 where torch holds that to be safe.
    mean : bool
        Whether gradients are means over the samples; otherwise sums.
    """
    weights = weights_at(update, moment)
    share = 1.0 / len(rows) if mean and len(rows) else 1.0
    found = Gradients(of={}, losses={name: [] for name in weights}, samples=len(rows))
    for start in range(0, len(rows), feed.at_once):
        part = rows[start : start + feed.at_once]
        losses = losses_of(update.losses, networks, feed, part, moment.step, mixed=mixed)
        if set(losses) != set(weights):
            raise PlanError(f"Update '{update.name}' has the losses {sorted(losses)}.")
        sums = {name: loss.sum() for name, loss in losses.items()}
        total = sum(share * weights[name] * value for name, value in sums.items())
        assert isinstance(total, Tensor)
        for name, value in sums.items():
            found.losses[name].append(value.detach())
        for name, gradient in networks.gradients(total, update.groups).items():
            if len(rows) > feed.at_once:
                gradient = found.of[name] + gradient if name in found.of else gradient.clone()
            found.of[name] = gradient
    for name in update.groups:
        if name not in found.of:
            found.of[name] = torch.zeros_like(networks.parameters[name])
    return found


def losses_of(
    losses: Losses,
    networks: Networks,
    feed: Feed,
    rows: Int,
    step: int,
    *,
    mixed: bool = False,
) -> Mapping[str, Tensor]:
    """What `losses` gives for some samples: one value a sample each."""
    batch, draws = {**feed.batch(rows), **feed.constants}, feed.draws(rows, step)
    losses = feed.made(losses)
    if mixed:
        with torch.autocast(networks.device.type, dtype=torch.bfloat16):
            found = losses(networks.module, batch, draws)
    else:
        found = losses(networks.module, batch, draws)
    for name, loss in found.items():
        if loss.shape != (len(rows),):
            raise PlanError(
                f"The loss '{name}' has the shape {tuple(loss.shape)}: it needs one value a "
                f"sample, ({len(rows)},)."
            )
    return found

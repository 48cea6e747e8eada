"""Optimizers over flat vectors, with moments that can be written down, sent and averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motet.errors import PlanError
from motet.training.moment import Moment
from motet.training.networks import Networks
from motet.training.phase import MOMENTS, Update

KINDS: Mapping[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


class Optimizer:
    """torch's optimizer of one update, over one vector a group.

    Parameters
    ----------
    networks : Networks
    update : Update
    """

    def __init__(self, networks: Networks, update: Update) -> None:
        self._networks, self._update = networks, update
        given = dict(update.optimizer)
        kind, rate = given.pop("name"), float(given.pop("lr"))
        rates = given.pop("lr_of", {})
        if kind not in KINDS:
            raise PlanError(f"There is no optimizer '{kind}'; known: {', '.join(KINDS)}.")
        if kind != "sgd":
            given["fused"] = True
        self._vectors = {name: networks.parameters[name] for name in update.groups}
        by_rate: dict[float, list[Tensor]] = {}
        for name, vector in self._vectors.items():
            by_rate.setdefault(float(rates.get(name, rate)), []).append(vector)
        # Vectors of one learning rate are moved by one kernel.
        settings = [{"params": vectors, "lr": r} for r, vectors in by_rate.items()]
        self._rates = list(by_rate)
        self._adam = kind != "sgd"
        self._optimizer = KINDS[kind](settings, **given)
        self.ran = 0

    def step(self, gradients: Mapping[str, Tensor], moment: Moment) -> None:
        """One step along mean gradients, flat, by group; groups without one stay."""
        factor = self._update.rate(moment) if self._update.rate else 1.0
        for setting, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            setting["lr"] = rate * factor
        for name, vector in self._vectors.items():
            vector.grad = gradients.get(name)  # without one it stays as it is
        self._optimizer.step()
        self.ran += 1
        self._networks.refresh(self._update.groups)

    def moments(self) -> dict[str, NDArray[np.float64]]:
        """``<group>.exp_avg`` and ``<group>.exp_avg_sq``, shaped as the group leaves."""
        return {at: now.to("cpu", torch.float64).numpy() for at, now in self.tensors().items()}

    def tensors(self) -> dict[str, Tensor]:
        """The same where and as they are."""
        found: dict[str, Tensor] = {}
        if not self._adam:
            return found
        for name, vector in self._vectors.items():
            state: dict[str, Any] = self._optimizer.state.get(vector, {})
            rest = torch.zeros_like(self._networks.buffers[name])
            for key in MOMENTS:
                flat = torch.cat([state.get(key, torch.zeros_like(vector)), rest])
                found[f"{name}.{key}"] = self._networks.shaped(name, flat)
        return found

    def take(self, moments: Mapping[str, NDArray[np.floating]], ran: int) -> None:
        """Go on with moments after `ran` steps; those that are not given begin anew."""
        self.ran = ran
        if not self._adam:
            return
        for name, vector in self._vectors.items():
            state: dict[str, Any] = {
                "step": torch.tensor(float(ran), device=vector.device),
            }
            for key in MOMENTS:
                array = moments.get(f"{name}.{key}")
                if array is None:
                    state[key] = torch.zeros_like(vector)
                    continue
                flat = self._networks.flat(name, torch.from_numpy(np.array(array)))
                state[key] = flat[: len(vector)].to(vector.device, vector.dtype).clone()
            self._optimizer.state[vector] = state

"""Optimizers of groups, with moments that can be written down, sent and averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.sgd import sgd

from motet.errors import PlanError
from motet.training.moment import Moment
from motet.training.networks import Networks, joined
from motet.training.phase import MOMENTS, Update

_ADAM: Mapping[str, Any] = {
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.0,
    "maximize": False,
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "adam": _ADAM,
    "adamw": {**_ADAM, "weight_decay": 0.01},
    "sgd": {"weight_decay": 0.0, "maximize": False},
}
"""Arguments of torch's optimizers besides the learning rate, with its defaults.

Its classes are not made: that imports torch's compiler, which takes as long as torch itself.
"""

COUNTS = 1024
"""Step counts that are made at once: to change one in every step is a kernel of its own."""


@lru_cache(maxsize=64)
def _block(number: int, size: int, device: torch.device) -> tuple[Tensor, ...]:
    """Some counts in a row. Groups and trainings of a process may be in several; each is 4 KiB."""
    first = number * size
    return torch.arange(first, first + size, dtype=torch.float32, device=device).unbind()


def _count(steps: int, device: torch.device) -> Tensor:
    """A number of steps as kernels read it."""
    return _block(steps // COUNTS, COUNTS, device)[steps % COUNTS]


def _arguments(kind: str, rate: float, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was asked for, and torch's defaults for the rest.

    Raises
    ------
    PlanError
        Of an optimizer or an argument that there is not, and of values that are not finite or that
        torch refuses.
    """
    if kind not in DEFAULTS:
        raise PlanError(f"There is no optimizer '{kind}'; known: {', '.join(DEFAULTS)}.")
    if given.get("amsgrad") or given.get("momentum"):
        raise PlanError("Moments of 'amsgrad' and 'momentum' are not exchanged; leave them.")
    known = DEFAULTS[kind]
    if unknown := sorted(set(given) - set(known)):
        raise PlanError(
            f"The optimizer '{kind}' has no {unknown[0]!r} here; it has: {', '.join(known)}."
        )
    how: dict[str, Any] = {**known, **given}
    sizes = (("lr", rate), ("weight_decay", how["weight_decay"]), ("eps", how.get("eps", 0.0)))
    for name, value in sizes:
        if not 0.0 <= value < math.inf:
            raise PlanError(
                f"'{name}' of the optimizer '{kind}' is {value}; it has to be finite, not below 0."
            )
    betas = how.get("betas", (0.0, 0.0))
    if len(betas) != 2 or any(not 0.0 <= beta < 1.0 for beta in betas):
        raise PlanError(f"'betas' of the optimizer '{kind}' are two, from 0 to below 1.")
    return how


class Optimizer:
    """torch's optimizer of one update.

    Its kernels move the parameters: Adam's are called here, SGD's by torch's function, which has
    nothing to count.

    Parameters
    ----------
    networks : Networks
    update : Update

    Attributes
    ----------
    ran : dict of str to int
        Steps behind the moments of every group.
    """

    def __init__(self, networks: Networks, update: Update) -> None:
        self._networks, self._update = networks, update
        given = dict(update.optimizer)
        kind, rate = given.pop("name"), float(given.pop("lr"))
        rates = given.pop("lr_of", {})
        self._how = _arguments(kind, rate, given)
        self._leaves = {name: [p.data for p in networks.leaves[name]] for name in update.groups}
        if unknown := set(rates) - set(self._leaves):
            raise PlanError(f"'lr_of' names groups that '{update.name}' does not move: {unknown}.")
        if not any(self._leaves.values()):
            raise PlanError(f"The groups of '{update.name}' have no parameter to be moved.")
        self._adam, self._decoupled = kind != "sgd", kind == "adamw"
        self._rates = {name: float(rates.get(name, rate)) for name in self._leaves}
        self._moments = {
            key: {n: [torch.zeros_like(leaf) for leaf in of] for n, of in self._leaves.items()}
            for key in (MOMENTS if self._adam else ())
        }
        self._together: dict[tuple[str, ...], tuple[list[Tensor], ...]] = {}
        self.ran = dict.fromkeys(self._leaves, 0)

    def step(
        self,
        gradients: Mapping[str, Sequence[Tensor]],
        moment: Moment,
        *,
        times: float = 1.0,
    ) -> None:
        """One step along mean gradients, one a parameter, by group; groups without them stay.

        Parameters
        ----------
        gradients : mapping of str to tensors
            Without a history, contiguous, of their parameters' shapes: kernels do not look.
        moment : Moment
        times : float
            Factor on learning rates.
        """
        factor = times * (self._update.rate(moment) if self._update.rate else 1.0)
        # Parameters of one learning rate are moved by one kernel.
        by_rate: dict[float, list[str]] = {}
        for name, rate in self._rates.items():
            if name in gradients:
                by_rate.setdefault(rate, []).append(name)
        for rate, names in by_rate.items():
            found = [g for name in names for g in gradients[name]]
            self._move(tuple(names), found, rate * factor)
        moved = [name for name in self._leaves if name in gradients]
        for name in moved:
            self.ran[name] += 1
        self._networks.refresh(moved)

    def _move(self, names: tuple[str, ...], gradients: list[Tensor], rate: float) -> None:
        if names not in self._together:
            of = (self._leaves, *self._moments.values())
            self._together[names] = tuple([t for n in names for t in tensors[n]] for tensors in of)
        leaves, *moments = self._together[names]
        if not leaves:  # groups of buffers alone
            return
        how = self._how
        if not self._adam:
            sgd(
                leaves,
                gradients,
                [None] * len(leaves),
                fused=True,
                lr=rate,
                weight_decay=how["weight_decay"],
                momentum=0.0,
                dampening=0.0,
                nesterov=False,
                maximize=how["maximize"],
            )
            return
        # What torch.optim.adam.adam() calls in the end. It sorts tensors by device first and counts
        # each one's steps, which for a laptop's networks takes longer than to move them.
        move: Any = torch._fused_adamw_ if self._decoupled else torch._fused_adam_
        counts = [_count(self.ran[n] + 1, self._networks.device) for n in names]
        move(
            leaves,
            gradients,
            *moments,
            [],
            [c for c, n in zip(counts, names, strict=True) for _ in self._leaves[n]],
            amsgrad=False,
            lr=rate,
            beta1=how["betas"][0],
            beta2=how["betas"][1],
            weight_decay=how["weight_decay"],
            eps=how["eps"],
            maximize=how["maximize"],
        )

    def running(self, name: str) -> tuple[float, list[Tensor]]:
        """What a step leaves of the running means of a group's gradients, and these, as they lie.

        0 and no tensor where there are none, or where they are of something else beside gradients.
        """
        how = self._how
        others = how["maximize"] or (how["weight_decay"] and not self._decoupled)
        if others or not self._adam:
            return 0.0, []
        return float(how["betas"][0]), self._moments[MOMENTS[0]][name]

    def moments(self) -> dict[str, NDArray[np.float64]]:
        """``<group>.exp_avg`` and ``<group>.exp_avg_sq``, shaped as the group leaves."""
        return {at: now.to("cpu", torch.float64).numpy() for at, now in self.tensors().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Copies of the same, on the device and in the training's precision."""
        found: dict[str, Tensor] = {}
        for key, moments in self._moments.items():
            for name, moment in moments.items():
                rest = torch.zeros_like(self._networks.buffers[name])
                found[f"{name}.{key}"] = self._networks.shaped(name, joined([*moment, rest]))
        return found

    def take(self, moments: Mapping[str, NDArray[np.floating]], ran: Mapping[str, int]) -> None:
        """Go on with moments after `ran` steps of each group; what is not given begins anew."""
        self.ran = {name: ran.get(name, 0) for name in self._leaves}
        for key, kept in self._moments.items():
            for name, moment in kept.items():
                if not moment:  # a group of buffers alone
                    continue
                array = moments.get(f"{name}.{key}")
                if array is None:
                    torch._foreach_zero_(moment)
                    continue
                flat = self._networks.taken(name, array)
                found = self._networks.parts(name, flat[: self._networks.count(name)])
                torch._foreach_copy_(moment, found)

"""Optimizers of groups, with moments that can be written down, sent and averaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from motet.errors import PlanError
from motet.training.moment import Moment
from motet.training.networks import Networks, joined
from motet.training.phase import MOMENTS, Update

KINDS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


class Optimizer:
    """torch's optimizer of one update.

    torch's classes check the arguments; its functions move the vectors, which for a network of a
    laptop takes half as long as a step of the classes.

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
        if kind not in KINDS:
            raise PlanError(f"There is no optimizer '{kind}'; known: {', '.join(KINDS)}.")
        self._leaves = {name: [p.data for p in networks.leaves[name]] for name in update.groups}
        every = [leaf for leaves in self._leaves.values() for leaf in leaves]
        checked = KINDS[kind](every, lr=rate, fused=True, **given)
        self._how = checked.defaults
        if self._how.get("amsgrad") or self._how.get("momentum"):
            raise PlanError("Moments of 'amsgrad' and 'momentum' are not exchanged; leave them.")
        if unknown := set(rates) - set(self._leaves):
            raise PlanError(f"'lr_of' names groups that '{update.name}' does not move: {unknown}.")
        self._adam = kind != "sgd"
        self._rates = {name: float(rates.get(name, rate)) for name in self._leaves}
        self._moments = {
            key: {n: [torch.zeros_like(leaf) for leaf in of] for n, of in self._leaves.items()}
            for key in (MOMENTS if self._adam else ())
        }
        self._counts = {
            name: [torch.zeros((), device=leaf.device) for leaf in leaves]
            for name, leaves in self._leaves.items()
        }
        self.ran = dict.fromkeys(self._leaves, 0)

    def step(
        self,
        gradients: Mapping[str, Sequence[Tensor]],
        moment: Moment,
        *,
        times: Mapping[str, float] | None = None,
    ) -> None:
        """One step along mean gradients, one a parameter, by group; groups without them stay.

        Parameters
        ----------
        gradients : mapping of str to tensors
        moment : Moment
        times : mapping of str to float, optional
            Factors on groups' learning rates.
        """
        factor, own = self._update.rate(moment) if self._update.rate else 1.0, times or {}
        # Parameters of one learning rate are moved by one kernel.
        by_rate: dict[float, list[str]] = {}
        for name, rate in self._rates.items():
            if name in gradients:
                by_rate.setdefault(rate * own.get(name, 1.0), []).append(name)
        with torch.no_grad():
            for rate, names in by_rate.items():
                self._move(names, [g for name in names for g in gradients[name]], rate * factor)
        moved = [name for name in self._leaves if name in gradients]
        for name in moved:
            self.ran[name] += 1
        self._networks.refresh(moved)

    def _move(self, names: list[str], gradients: list[Tensor], rate: float) -> None:
        leaves, how = [leaf for name in names for leaf in self._leaves[name]], self._how
        if not self._adam:
            sgd(
                leaves,
                gradients,
                [None] * len(leaves),
                fused=True,
                lr=rate,
                weight_decay=how["weight_decay"],
                momentum=0.0,
                dampening=how["dampening"],
                nesterov=False,
                maximize=how["maximize"],
            )
            return
        means, squares = (
            [part for name in names for part in self._moments[key][name]] for key in MOMENTS
        )
        adam(
            leaves,
            gradients,
            means,
            squares,
            [],
            [count for name in names for count in self._counts[name]],
            fused=True,
            amsgrad=False,
            lr=rate,
            beta1=how["betas"][0],
            beta2=how["betas"][1],
            weight_decay=how["weight_decay"],
            eps=how["eps"],
            maximize=how["maximize"],
            decoupled_weight_decay=how["decoupled_weight_decay"],
        )

    def moments(self) -> dict[str, NDArray[np.float64]]:
        """``<group>.exp_avg`` and ``<group>.exp_avg_sq``, shaped as the group leaves."""
        return {at: now.to("cpu", torch.float64).numpy() for at, now in self.tensors().items()}

    def tensors(self) -> dict[str, Tensor]:
        """The same where and as they are."""
        found: dict[str, Tensor] = {}
        for key, moments in self._moments.items():
            for name, moment in moments.items():
                rest = torch.zeros_like(self._networks.buffers[name])
                found[f"{name}.{key}"] = self._networks.shaped(name, joined([*moment, rest]))
        return found

    def take(self, moments: Mapping[str, NDArray[np.floating]], ran: Mapping[str, int]) -> None:
        """Go on with moments after `ran` steps of each group; what is not given begins anew."""
        for name, counts in self._counts.items():
            self.ran[name] = ran.get(name, 0)
            for count in counts:
                count.fill_(self.ran[name])
        for key, kept in self._moments.items():
            for name, moment in kept.items():
                array = moments.get(f"{name}.{key}")
                if array is None:
                    for part in moment:
                        part.zero_()
                    continue
                flat = self._networks.flat(name, torch.from_numpy(np.array(array)))
                found = self._networks.parts(name, flat[: self._networks.count(name)])
                for part, new in zip(moment, found, strict=True):
                    part.copy_(new)

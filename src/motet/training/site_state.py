"""Networks and moments of a site between turns: what it is told, what it keeps, what leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motet.releases import Arrays
from motet.site import Site
from motet.training.control import Controls
from motet.training.exchange import LARGEST_SQUARE, as_bfloat16, as_float, mean_square
from motet.training.moment import Moment
from motet.training.phase import CONTROL, MOMENTS, SAMPLES, SQUARES, WEIGHT, Train, Turn, Update
from motet.training.workshop import Workshop

_PRECISIONS = {torch.float64: np.float64, torch.float32: np.float32}


class SiteState:
    """A site's networks and moments between turns: told by the coordinator, or kept here."""

    def __init__(self, train: Train, shop: Workshop, site: Site, shared: Arrays) -> None:
        self._train, self._shop, self._site, self._shared = train, shop, site, shared

    def _kept(self, name: str) -> str:
        return f"{self._train.name}.{name}"

    def load(self, turn: Turn) -> None:
        """Networks and moments as they are before `turn`."""
        train, networks = self._train, self._shop.networks
        for name, group in networks.groups.items():
            at = self._kept(name)
            if group.keeper == "local" or at in self._site.keep:
                if at in self._site.keep:
                    networks.load(name, self._site.keep[at])
                else:  # before its first step, also where that is done again
                    networks.load(name, self._shop.first[name])
            else:
                networks.load(name, self._shared[at])
        if turn.exact and not any(g.keeper == "local" for g in train.groups):
            return
        for update in train.updates:
            known, ran = {}, {}
            for name in update.groups:
                for moment in MOMENTS:
                    at = self._kept(f"{name}.{moment}")
                    source = self._site.keep if at in self._site.keep else self._shared
                    if at in source:
                        known[f"{name}.{moment}"] = source[at]
                        counted = self._site.keep.get(self._kept(f"{name}.ran"))
                        ran[name] = update.ran(turn.first) if counted is None else int(counted)
            self._shop.optimizers[update.name].take(known, ran)

    def step_alone(
        self, update: Update, gradients: Mapping[str, list[Tensor]], samples: int, moment: Moment
    ) -> None:
        """In exact mode, a step of the groups that never leave, by the site's own samples."""
        local = [n for n in update.groups if self._train.group(n).keeper == "local"]
        if not local or not samples:
            return
        mean = {name: [part / samples for part in gradients[name]] for name in local}
        self._shop.optimizers[update.name].step(mean, moment)
        self._keep(local, update)

    def leave(
        self, turn: Turn, controls: Controls, counts: Mapping[str, int]
    ) -> dict[str, NDArray[Any]]:
        """What networks, moments and controls changed by, times samples; the rest is kept."""
        train, networks = self._train, self._shop.networks
        weights = self._weights(turn, counts)
        found: dict[str, NDArray[Any]] = {WEIGHT: np.array([weights[n] for n in turn.leaving])}
        for name in turn.leaving:
            found[name] = self._changed(name, name, networks.numbers(name), weights[name])
        if train.options.extrapolate:
            of = train.averaged(turn)
            found[SQUARES] = np.array([self._square(n, found[n], weights[n]) for n in of])
        for name in controls.names:
            controls.close(name, leaves=name in turn.leaving)
            if name in turn.leaving:
                at = f"{name}.{CONTROL}"
                found[at] = self._changed(name, at, controls.own(name), weights[name])
        for update in train.updates:
            moments = self._shop.optimizers[update.name].tensors()
            for at, now in moments.items():
                group, _, moment = at.rpartition(".")
                if moment not in update.moments:
                    continue
                if group in turn.leaving and train.options.moments == "averaged":
                    found[at] = self._changed(group, at, now, weights[group])
                elif group not in turn.leaving or train.options.moments == "kept":
                    self._site.keep[self._kept(at)] = now.cpu().numpy()
                else:
                    self._site.keep.pop(self._kept(at), None)
            self._keep_count(update)
        for name in networks.groups:
            if name not in turn.leaving:
                self._site.keep[self._kept(name)] = networks.vector(name)
        return found

    def _square(self, name: str, change: NDArray[Any], weight: float) -> float:
        """The mean square of a group's parameters' change, times samples, from what leaves."""
        if not weight:
            return 0.0
        count = self._shop.networks.count(name)
        return weight * min(LARGEST_SQUARE, mean_square(as_float(change)[:count]) / weight**2)

    def _weights(self, turn: Turn, counts: Mapping[str, int]) -> dict[str, float]:
        """Samples behind every group that leaves, since it last did; the others' are kept."""
        found = {}
        for update in self._train.updates:
            for name in update.groups:
                if self._train.group(name).keeper == "local":
                    continue
                at = self._kept(f"{name}.{SAMPLES}")
                so_far = float(self._site.keep.pop(at, 0.0)) + counts[update.name]
                if name in turn.leaving:
                    found[name] = so_far
                else:
                    self._site.keep[at] = np.asarray(so_far)
        return found

    def _keep_count(self, update: Update) -> None:
        """Steps behind moments that stay here: the optimizer corrects their beginning by it."""
        ran = self._shop.optimizers[update.name].ran
        for name in update.groups:
            counted = self._kept(f"{name}.ran")
            self._site.keep.pop(counted, None)
            if any(self._kept(f"{name}.{moment}") in self._site.keep for moment in MOMENTS):
                self._site.keep[counted] = np.asarray(ran[name])

    def _changed(self, group: str, name: str, now: Tensor, weight: float) -> NDArray[Any]:
        """What an array of a group changed by since the coordinator told it, as it leaves.

        `now` is a copy of its own: it is changed where it lies, which costs no memory.
        """
        if self._train.masked:
            now = now.to(torch.float64)  # 64 bits leave; the product is not to be rounded to 24
        told = self._shared.get(self._kept(name))
        self._site.keep.pop(self._kept(name), None)
        if told is not None:
            # In the training's precision first: half as many bytes go to a device, and no copy.
            now -= torch.from_numpy(told.astype(_PRECISIONS[now.dtype])).to(now.device)
        spec = self._train.group(group)
        if spec.keeper != "owned":
            now *= weight
            return sent(self._train, now)
        # A batch's part is summed, not averaged; moments are its owner's in any case.
        if not (spec.summed and name == group):
            now *= torch.from_numpy(self._shop.owned).to(now.device, now.dtype)[:, None]
        return sent(self._train, now)

    def _keep(self, names: list[str], update: Update) -> None:
        for name in names:
            self._site.keep[self._kept(name)] = self._shop.networks.vector(name)
        for at, now in self._shop.optimizers[update.name].tensors().items():
            group, _, moment = at.rpartition(".")
            if group in names and moment in update.moments:
                self._site.keep[self._kept(at)] = now.cpu().numpy()
        self._keep_count(update)


def sent(train: Train, tensor: Tensor) -> NDArray[Any]:
    """Numbers in the form in which they leave."""
    array = tensor.detach().cpu().numpy()
    if train.masked:
        return array.astype(np.float64, copy=False)
    if train.options.transfer == "bfloat16":
        return as_bfloat16(array.astype(np.float32, copy=False))
    return array.astype(train.options.transfer, copy=False)

"""What a site's gradients differ by from all sites': the control variates of SCAFFOLD."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motet.releases import Arrays
from motet.site import Site
from motet.training.gradient_sum import GradientSum
from motet.training.networks import Networks, joined
from motet.training.optimizer import Optimizer
from motet.training.phase import CONTROL, Train, Turn

OWN, SUM, STEPS = "own_control", "gradients", "gradient_steps"


class Controls:
    """Of the groups that are averaged over sites, at one site.

    A site's people are not everybody, and steps along their gradients alone lead elsewhere. So the
    mean gradient of all sites' steps between the last two exchanges, less the site's own, is added
    to every gradient. Karimireddy et al. 2020, algorithm 1, option II (arXiv:1910.06378), which
    takes that mean gradient from what plain gradient descent changed; here it is
    :class:`GradientSum`'s, since the steps are Adam's. Sites count by their samples since a group
    last left, so that it is for trainings in which every site has samples behind each exchange: of
    one that has none the others' mean knows nothing.

    Parameters
    ----------
    train : Train
    networks : Networks
    optimizers : mapping of str to Optimizer
        Of the updates, with the moments that this turn's steps begin with.
    turn : Turn
    site : Site
        Keeps its own control, and the gradients since a group last left.
    shared : mapping of str to ndarray
        ``<train>.<group>.control``: of all sites; absent before the first exchange.
    """

    def __init__(
        self,
        *,
        train: Train,
        networks: Networks,
        optimizers: Mapping[str, Optimizer],
        turn: Turn,
        site: Site,
        shared: Arrays,
    ) -> None:
        self._train, self._networks, self._site, self._shared = train, networks, site, shared
        self.names = tuple(group.name for group in train.leaving if train.controls(group))
        """Groups with a control; none unless it is asked for."""
        self._corrections = {name: more for name in self.names if (more := self._correction(name))}
        self._sums: dict[str, GradientSum] = {}
        """Of this turn's corrected gradients."""
        for name in self.names:
            update = train.update_of(name)
            steps = update.ran(turn.after) - update.ran(turn.first)
            optimizer, leaves = optimizers[update.name], networks.leaves[name]
            self._sums[name] = GradientSum(optimizer, name, leaves, steps=steps)

    def _at(self, name: str, what: str) -> str:
        return f"{self._train.name}.{name}.{what}"

    def _flat(self, array: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self._networks.device, torch.float64)

    def _correction(self, name: str) -> list[Tensor]:
        """What is added to every gradient of a group, one a parameter; empty at the beginning."""
        everybody = self._shared.get(self._at(name, CONTROL))
        own = self._site.keep.get(self._at(name, OWN))
        if everybody is None or own is None:
            return []
        away = self._flat(everybody)[: len(own)] - self._flat(own)
        return self._networks.parts(name, away.to(self._networks.dtype))

    def correct(self, gradients: MutableMapping[str, list[Tensor]]) -> None:
        """Correct a step's gradients."""
        names = [name for name in self._corrections if name in gradients]
        if not names:
            return
        # One kernel for all groups, and not in place: gradients may share memory, among them and
        # with what a loss keeps.
        found = iter(
            torch._foreach_add(  # noqa: SLF001 - torch has no other
                [part for name in names for part in gradients[name]],
                [part for name in names for part in self._corrections[name]],
            )
        )
        for name in names:
            gradients[name] = list(islice(found, len(gradients[name])))

    def count(self, gradients: Mapping[str, list[Tensor]]) -> None:
        """Count a step's gradients, as they were corrected, after the optimizer's step along them.

        Nothing else is to change them in between: what counts are a site's own.
        """
        for name in self.names:
            if gradients.get(name):
                self._sums[name].add(gradients[name])

    def close(self, name: str, *, leaves: bool) -> None:
        """Write down what was counted; of a group that leaves, the mean since it last did."""
        keep = self._site.keep
        counted = self._sums[name]
        if counted.steps:
            total = counted.total().to("cpu", torch.float64)
            if name in self._corrections:
                away = joined(self._corrections[name]).to("cpu", torch.float64)
                total -= counted.steps * away
            so_far, ran = (keep.get(self._at(name, what), 0) for what in (SUM, STEPS))
            keep[self._at(name, SUM)] = so_far + total.numpy()
            keep[self._at(name, STEPS)] = np.asarray(ran + counted.steps)
        if leaves and self._at(name, SUM) in keep:
            ran = int(keep.pop(self._at(name, STEPS)))
            keep[self._at(name, OWN)] = keep.pop(self._at(name, SUM)) / ran

    def own(self, name: str) -> Tensor:
        """The site's control, as it leaves: zeros, which count nothing, before its first step."""
        length = self._networks.count(name)
        own = self._flat(self._site.keep.get(self._at(name, OWN), np.zeros(length)))
        rest = torch.zeros_like(self._networks.buffers[name])
        return self._networks.shaped(name, torch.cat([own.to(self._networks.dtype), rest]))

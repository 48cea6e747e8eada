"""What a site's gradients differ by from all sites': the control variates of SCAFFOLD."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from motet.releases import Arrays
from motet.site import Site
from motet.training.networks import Networks, joined
from motet.training.phase import CONTROL, Train

OWN, SUM, STEPS = "own_control", "gradients", "gradient_steps"


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Of the groups that are averaged over sites, at one site.

    A site's people are not everybody, and steps along their gradients alone lead elsewhere. So the
    mean gradient of all sites' steps between the last two exchanges, less the site's own, is added
    to every gradient. Karimireddy et al. 2020, algorithm 1, option II (arXiv:1910.06378), which
    takes that mean gradient from what plain gradient descent changed; here it is counted, since the
    steps are Adam's. Sites count by their samples of the exchange, so that it is for trainings in
    which every site has samples behind each: of one that has none the others' mean knows nothing.

    Parameters
    ----------
    train : Train
    networks : Networks
    site : Site
        Keeps its own control, and the gradients since a group last left.
    shared : mapping of str to ndarray
        ``<train>.<group>.control``: of all sites; absent before the first exchange.
    """

    train: Train
    networks: Networks
    site: Site
    shared: Arrays

    @property
    def names(self) -> tuple[str, ...]:
        """Groups with a control; none unless it is asked for."""
        return tuple(group.name for group in self.train.leaving if self.train.controls(group))

    def _at(self, name: str, what: str) -> str:
        return f"{self.train.name}.{name}.{what}"

    def corrections(self) -> dict[str, list[Tensor]]:
        """What is added to every gradient of a group, one a parameter."""
        found = {}
        for name in self.names:
            everybody = self.shared.get(self._at(name, CONTROL))
            own = self.site.keep.get(self._at(name, OWN))
            if everybody is None or own is None:
                continue
            length = len(self.networks.parameters[name])
            both = (torch.from_numpy(np.array(array))[:length] for array in (everybody, own))
            here = [array.to(self.networks.device, torch.float64) for array in both]
            found[name] = self.networks.parts(name, (here[0] - here[1]).to(self.networks.dtype))
        return found

    def count(self, gradients: Mapping[str, Tensor], steps: Mapping[str, int]) -> None:
        """Add the gradients of this turn's steps to those since each group last left."""
        for name, total in gradients.items():
            so_far = self.site.keep.get(self._at(name, SUM), 0.0)
            ran = int(self.site.keep.get(self._at(name, STEPS), 0))
            self.site.keep[self._at(name, SUM)] = so_far + total.to("cpu", torch.float64).numpy()
            self.site.keep[self._at(name, STEPS)] = np.asarray(ran + steps[name])

    def leaving(self, name: str) -> Tensor:
        """The site's control of a group that leaves: the mean gradient since it last did."""
        total = self.site.keep.pop(self._at(name, SUM), None)
        steps = self.site.keep.pop(self._at(name, STEPS), None)
        if total is not None and steps is not None:
            self.site.keep[self._at(name, OWN)] = total / int(steps)
        # A site that took no step yet has none: what it sends counts nothing.
        length = len(self.networks.parameters[name])
        own = self.site.keep.get(self._at(name, OWN), np.zeros(length))
        flat = torch.from_numpy(np.array(own)).to(self.networks.device, self.networks.dtype)
        rest = torch.zeros_like(self.networks.buffers[name])
        return self.networks.shaped(name, torch.cat([flat, rest]))


class Counted:
    """Gradients of the steps of one turn, before they are corrected.

    Parameters
    ----------
    controls : Controls
    """

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._corrections = controls.corrections()
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}

    def correct(self, gradients: MutableMapping[str, list[Tensor]]) -> None:
        """Count a step's gradients, and correct them in place."""
        for name in set(self._controls.names) & set(gradients):
            raw = joined(gradients[name])
            self._sums[name] = self._sums[name] + raw if name in self._sums else raw
            self._steps[name] = self._steps.get(name, 0) + 1
            if name in self._corrections:
                parts = zip(gradients[name], self._corrections[name], strict=True)
                gradients[name] = [g + more for g, more in parts]

    def close(self) -> Controls:
        """What the site now knows of its gradients."""
        self._controls.count(self._sums, self._steps)
        return self._controls

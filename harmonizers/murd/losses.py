"""What MURD's networks are trained with: one value a triplet of slices (Liu and Yap 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from motet.harmonizers.murd.networks import Murd
from motet.harmonizers.murd.slices import TOP

SPAN = 1.0 + TOP


@dataclass(frozen=True, kw_only=True)
class Triplets:
    """Slices with their neighbours, and whose they are.

    Attributes
    ----------
    x : (B, 3, h, w)
        -1 beside the brain.
    brain : (B, 1, h, w)
        1 where any of the three shows brain.
    label, target : (B,) int64
        Batch i of the slices, and batch j that they are brought to.
    """

    x: Tensor
    brain: Tensor
    label: Tensor
    target: Tensor


def seen(x: Tensor) -> Tensor:
    """Intensities in units of their image's level, as networks see them."""
    return SPAN * x - 1.0


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The losses of both updates.

    Parameters
    ----------
    noise : float
        Standard deviation of what is added to content codes.
    within : bool
        Whether differences of images are means over the brain instead of all pixels.
    """

    noise: float
    within: bool

    def critic(self, networks: Murd, batch: Mapping[str, Tensor], draws: Any) -> dict[str, Tensor]:
        """Real slices told from made ones, with the penalty R1 (Mescheder et al. 2018, eq. 9)."""
        given = self.triplets(batch, draws)
        with torch.no_grad():
            detail = networks.detail(given.x, given.brain)
            code = self._noisy(networks.content(detail, given.brain), draws, "content")
            style = networks.style_of(self._z(networks, draws, "z"), given.target)
            fake = networks.made(code, style, detail, given.brain)
        x = given.x.detach().requires_grad_()
        real = networks.judged(x, given.brain, given.label)
        (slope,) = torch.autograd.grad(real.sum(), x, create_graph=True)
        return {
            "real": softplus(-real),
            "fake": softplus(networks.judged(fake, given.brain, given.target)),
            "r1": slope.square().flatten(1).sum(dim=1),
        }

    def generator(
        self, networks: Murd, batch: Mapping[str, Tensor], draws: Any
    ) -> dict[str, Tensor]:
        """All other losses."""
        given = self.triplets(batch, draws)
        x, brain = given.x, given.brain
        detail = networks.detail(x, brain)
        code = networks.content(detail, brain)
        noisy = self._noisy(code, draws, "content")
        style = networks.style_of(self._z(networks, draws, "z"), given.target)
        made = networks.made(noisy, style, detail, brain)
        with torch.no_grad():
            other = networks.style_of(self._z(networks, draws, "other z"), given.target)
            apart = networks.made(noisy, other, detail, brain)
        detail_again = networks.detail(made, brain)
        again = networks.content(detail_again, brain)
        own = networks.style(x, given.label)
        same = networks.made(noisy, own, detail, brain)
        noisy_again = self._noisy(again, draws, "content again")
        back = networks.made(noisy_again, own, detail_again, brain)
        return {
            "adversarial": softplus(-networks.judged(made, brain, given.target)),
            "content": _mean((code - again).abs()),
            "style": _mean((style - networks.style(made, given.target)).abs()),
            "identity": self._over(x - same, brain),
            "cycle": self._over(x - back, brain),
            "gradient": self._edges(x - back, brain),
            "alignment": _mean(code.square()),
            "diversity": self._over(made - apart, brain),
        }

    def error(self, networks: Murd, batch: Mapping[str, Tensor], draws: Any) -> Tensor:
        """Absolute error of slices that are made of their own content and style, (B,)."""
        given = self.triplets(batch, draws)
        detail = networks.detail(given.x, given.brain)
        own = networks.style(given.x, given.label)
        made = networks.made(networks.content(detail, given.brain), own, detail, given.brain)
        return self._over(given.x - made, given.brain)

    def triplets(self, batch: Mapping[str, Tensor], draws: Any) -> Triplets:
        """The slices of a batch of samples, and where each is brought to."""
        x = torch.cat([batch["x-1"], batch["x0"], batch["x+1"]], dim=1)
        brains = torch.stack([batch["b-1"], batch["b0"], batch["b+1"]], dim=1)
        label, order = batch["label"], batch["order"]
        target = order[draws.integers("target", len(order))]
        brain = brains.amax(dim=1, keepdim=True).to(x.dtype)
        return Triplets(x=seen(x), brain=brain, label=label, target=target)

    def _z(self, networks: Murd, draws: Any, purpose: str) -> Tensor:
        found: Tensor = draws.normal(purpose, networks.sizes.noise)
        return found

    def _noisy(self, code: Tensor, draws: Any, purpose: str) -> Tensor:
        if not self.noise:
            return code
        drawn: Tensor = draws.normal(purpose, *code.shape[1:])
        return code + self.noise * drawn

    def _over(self, apart: Tensor, brain: Tensor) -> Tensor:
        """Mean absolute difference of every sample."""
        if not self.within:
            return _mean(apart.abs())
        size = apart.shape[1] * brain.sum(dim=(1, 2, 3)).clamp_min(1.0)
        return (apart.abs() * brain).sum(dim=(1, 2, 3)) / size

    def _edges(self, apart: Tensor, brain: Tensor) -> Tensor:
        """The same of forward differences, along both axes."""
        down, right = apart[:, :, 1:] - apart[:, :, :-1], apart[..., 1:] - apart[..., :-1]
        return self._over(down, brain[:, :, 1:] * brain[:, :, :-1]) + self._over(
            right, brain[..., 1:] * brain[..., :-1]
        )


def _mean(values: Tensor) -> Tensor:
    """(B, …) -> (B,)."""
    return values.flatten(1).mean(dim=1)

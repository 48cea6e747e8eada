"""What CALAMITI's networks are trained with: one value a pair of slices (Zuo et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as nnf

from motet.harmonizers._images.shading import spread
from motet.harmonizers.calamiti import vgg
from motet.harmonizers.calamiti.curves import curved, wandering
from motet.harmonizers.calamiti.networks import Calamiti
from motet.harmonizers.calamiti.sizes import KNOTS

GAIN_GRID = 4
"""Edge of the grid of a random gain."""
COOLEST = 0.5
"""Smallest temperature of the relaxed one-hot code."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Pairs of slices with the same anatomy in two contrasts, one contrast after the other.

    Attributes
    ----------
    x, other : (2 B, 1, h, w)
        The slices; and others of the same volumes, which tell of contrast but not of anatomy.
    brain : (2 B, 1, h, w)
        1 within the brain.
    brains : list of Tensor, optional
        The mask at every level of the U-Nets, where norms are taken within it.
    """

    x: Tensor
    other: Tensor
    brain: Tensor
    brains: list[Tensor] | None

    def __len__(self) -> int:
        return len(self.x) // 2


def pairs(networks: Calamiti, batch: Mapping[str, Tensor], draws: Any) -> Pair:
    """The pairs of a batch; of one contrast the second is the first under a random curve.

    Parameters
    ----------
    batch : mapping
        ``x``, ``other`` (B, contrasts, h, w) and ``brain`` (B, h, w).
    """
    x, other = batch["x"], batch["other"]
    if x.shape[1] == 1:
        knots = draws.uniform("second contrast", 1)
        x = torch.cat([x, curved(x, knots)], dim=1)
        other = torch.cat([other, curved(other, knots)], dim=1)
    brain = batch["brain"].to(x.dtype)[:, None]
    return Pair(
        x=stacked(x),
        other=stacked(other),
        brain=torch.cat([brain, brain]),
        brains=networks.brains(torch.cat([brain, brain])),
    )


def stacked(x: Tensor) -> Tensor:
    """(B, C, …) -> (C B, 1, …): the first contrast of all, then the next."""
    return x.transpose(0, 1).reshape(-1, 1, *x.shape[2:])


def random_gain(draws: Any, purpose: str, sd: float, like: Tensor) -> Tensor:
    """Smooth gains of both contrasts, (2 B, 1, h, w); their logarithms have sd `sd`."""
    field = stacked(draws.normal(purpose, 2, GAIN_GRID, GAIN_GRID))
    return torch.exp(sd * spread(field, like.shape[2:]))


def of_samples(values: Tensor) -> Tensor:
    """(2 B, …) -> (B,): means over both contrasts and all else."""
    return values.reshape(2, len(values) // 2, -1).mean(dim=(0, 2))


def apart(networks: Calamiti, difference: Tensor, brain: Tensor) -> Tensor:
    """Absolute differences; within the brain, by its size, where norms are taken there."""
    if not networks.sizes.within:
        return difference.abs()
    size = brain.sum(dim=(2, 3), keepdim=True).clamp_min(1.0)
    return difference.abs() * brain * (brain[0].numel() / size)


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The losses of both updates.

    Parameters
    ----------
    cooling : float
        Decay of the temperature, an update of the generator.
    period : int
        Steps from one update of the generator to the next.
    augment : float
        How far the anatomy encoder's input is from its own contrast: 0 never, 1 anywhere.
    augment_gain : float
        Standard deviation of the logarithm of a smooth random gain of that input.
    augment_shading : float
        The same of a gain that the slice and the other of its volume have in common: of a scanner
        that shades as none in the study.
    """

    cooling: float
    period: int = 2
    augment: float
    augment_gain: float = 0.0
    augment_shading: float = 0.0

    def _pairs(self, networks: Calamiti, batch: Mapping[str, Tensor], draws: Any) -> Pair:
        """The pairs as a scanner with random shading shows them."""
        pair = pairs(networks, batch, draws)
        if not self.augment_shading:
            return pair
        gain = random_gain(draws, "shading", self.augment_shading, pair.x)
        return replace(pair, x=pair.x * gain, other=pair.other * gain)

    def _code(self, networks: Calamiti, pair: Pair, draws: Any) -> Tensor:
        """Anatomy codes, (2 B, anatomy, h, w)."""
        x = pair.x
        if self.augment:
            knots = stacked(draws.normal("augmented", 2, 1, KNOTS))
            x = wandering(x, self.augment * knots.reshape(len(x), -1))
        if self.augment_gain:
            x = x * random_gain(draws, "gain", self.augment_gain, x)
        logits = networks.logits(x, pair.brains)
        if not networks.sizes.one_hot:
            return networks.code(logits, None, 1.0)
        shape = logits.shape[1:]
        noise = draws.gumbel("anatomy", 2, *shape).transpose(0, 1).reshape(-1, *shape)
        warmth = max(COOLEST, math.exp(-self.cooling * (draws.step // self.period)))
        return networks.code(logits, noise, warmth)

    def critic(
        self, networks: Calamiti, batch: Mapping[str, Tensor], draws: Any
    ) -> dict[str, Tensor]:
        """Own labels are to be told from labels of anybody (section 3.3)."""
        with torch.no_grad():
            pair = self._pairs(networks, batch, draws)
            code = self._code(networks, pair, draws)
        joint, marginal = self._judged(networks, code, batch, draws)
        return {
            "joint": of_samples(nnf.softplus(-joint)),
            "marginal": of_samples(nnf.softplus(marginal)),
        }

    def _judged(
        self, networks: Calamiti, code: Tensor, batch: Mapping[str, Tensor], draws: Any
    ) -> tuple[Tensor, Tensor]:
        """Logits of the critic with codes' own labels, and with labels of the frequencies."""
        total = batch["cumulated"]
        contrast = torch.arange(2, device=code.device)
        own = stacked((2 * batch["label"][:, None] + contrast)[:, :, None]).reshape(-1)
        drawn = stacked(draws.uniform("label", 2, 1)).reshape(-1).to(total.dtype)
        other = torch.searchsorted(total, drawn).clamp_max(len(total) - 1)
        both = torch.cat([own, other]).to(code.dtype) / len(total)
        found: Tensor = networks.critic(torch.cat([code, code]), both)
        return found[: len(code)], found[len(code) :]

    def generator(
        self, networks: Calamiti, batch: Mapping[str, Tensor], draws: Any
    ) -> dict[str, Tensor]:
        """Reconstruction, alike anatomy codes, style codes near 0, a critic that cannot tell."""
        found, code = self._reconstructed(networks, batch, draws)
        joint, marginal = self._judged(networks, code, batch, draws)
        found["adversarial"] = of_samples(nnf.softplus(joint)) + of_samples(nnf.softplus(-marginal))
        return found

    def adapting(
        self, networks: Calamiti, batch: Mapping[str, Tensor], draws: Any
    ) -> dict[str, Tensor]:
        """The same where the critic knows no label of the samples' own (section 3.5)."""
        found, code = self._reconstructed(networks, batch, draws)
        _, marginal = self._judged(networks, code, batch, draws)
        found["adversarial"] = of_samples(nnf.softplus(-marginal))
        return found

    def _reconstructed(
        self, networks: Calamiti, batch: Mapping[str, Tensor], draws: Any
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Losses that need no critic, and the anatomy codes."""
        pair = self._pairs(networks, batch, draws)
        code = self._code(networks, pair, draws)
        mean, log_var = networks.contrast(pair.other)
        width = mean.shape[1]
        noise = draws.normal("style", 2, width).transpose(0, 1).reshape(-1, width)
        theta = mean + torch.exp(0.5 * log_var) * noise
        made = self._decoded(networks, pair, code, theta, draws)
        first, second = code.chunk(2)
        found = {
            "reconstruction": of_samples(apart(networks, made - pair.x, pair.brain)),
            **self._perceived(networks, batch, made, pair),
            "anatomy": (first - second).abs().flatten(1).mean(dim=1),
            "kl": of_samples(0.5 * (log_var.exp() + mean.square() - 1.0 - log_var)),
        }
        return found, code

    def _decoded(
        self, networks: Calamiti, pair: Pair, code: Tensor, theta: Tensor, draws: Any
    ) -> Tensor:
        """Every contrast from the anatomy of one that is drawn."""
        count = len(pair)
        pick = torch.cat([draws.integers(f"anatomy of {m}", 2) for m in range(2)])
        rows = pick * count + torch.arange(count, device=code.device).repeat(2)
        return networks.decode(code[rows], theta, pair.brains)

    def _perceived(
        self, networks: Calamiti, batch: Mapping[str, Tensor], made: Tensor, pair: Pair
    ) -> dict[str, Tensor]:
        """Differences of VGG's features, or of neighbours where its weights are not to be had."""
        if not vgg.is_there(batch):
            return {"gradient": of_samples(self._edges(networks, made - pair.x, pair))}
        if not networks.sizes.within:
            return {"perceptual": of_samples(vgg.apart(batch, made, pair.x))}
        size = pair.brain.flatten(1).mean(dim=1).clamp_min(1.0 / pair.brain[0].numel())
        found = vgg.apart(batch, made * pair.brain, pair.x * pair.brain)
        return {"perceptual": of_samples(found / size)}

    def _edges(self, networks: Calamiti, off: Tensor, pair: Pair) -> Tensor:
        """The same of differences of neighbours, which stands for the term of VGG's features."""
        off = off * pair.brain
        down = nnf.pad(off[:, :, 1:] - off[:, :, :-1], (0, 0, 0, 1))
        right = nnf.pad(off[:, :, :, 1:] - off[:, :, :, :-1], (0, 1))
        found = down.abs() + right.abs()
        if not networks.sizes.within:
            return found
        size = pair.brain.sum(dim=(2, 3), keepdim=True).clamp_min(1.0)
        return found * (pair.brain[0].numel() / size)

    def error(self, networks: Calamiti, batch: Mapping[str, Tensor], draws: Any) -> Tensor:
        """Absolute error of both contrasts, each decoded from its own anatomy and mean style."""
        pair = pairs(networks, batch, draws)
        code = networks.code(networks.logits(pair.x, pair.brains), None, 1.0)
        theta, _ = networks.contrast(pair.other)
        made = networks.decode(code, theta, pair.brains)
        return of_samples(apart(networks, made - pair.x, pair.brain))

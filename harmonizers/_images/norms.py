"""Means and variances of channels over the brain alone, at every level of a network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf

EPS = 1e-5


def moments(x: Tensor, brain: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel of `x`, (B, C, h, w), over the brain: (B, C, 1, 1)."""
    if brain is None:
        var, mean = torch.var_mean(x, dim=(2, 3), keepdim=True, correction=0)
        return mean, var
    count = brain.sum(dim=(2, 3), keepdim=True).clamp_min(1.0)
    mean = (x * brain).sum(dim=(2, 3), keepdim=True) / count
    square = (x.square() * brain).sum(dim=(2, 3), keepdim=True) / count
    return mean, (square - mean.square()).clamp_min(0.0)


def pyramid(brain: Tensor, levels: int) -> list[Tensor]:
    """A mask, (B, 1, h, w), at every level of a U-Net: a pixel counts where any of it does."""
    found = [brain]
    for _ in range(levels):
        found.append(nnf.max_pool2d(found[-1], 2))
    return found

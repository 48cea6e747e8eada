"""Means and variances of channels over the brain alone, at every level of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
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


class Norm(nn.Module):
    """Instance norm of every channel, affine (Ulyanov et al. 2016, arXiv:1607.08022).

    Parameters
    ----------
    channels : int
    style : int
        Numbers of a style code that scales and shifts the normed channels (FiLM, Perez et al.
        2018, arXiv:1709.07871); 0: none.
    """

    def __init__(self, channels: int, style: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.film = nn.Linear(style, 2 * channels) if style else None

    def forward(self, x: Tensor, brain: Tensor | None, style: Tensor | None) -> Tensor:
        """Norm `x`, (B, C, h, w).

        Parameters
        ----------
        brain : (B, 1, h, w), optional
            1 where mean and variance are taken; default: everywhere.
        style : (B, style), optional
        """
        mean, var = moments(x, brain)
        scale = self.weight.view(1, -1, 1, 1)
        shift = self.bias.view(1, -1, 1, 1)
        if self.film is not None and style is not None:
            by, to = self.film(style)[:, :, None, None].chunk(2, dim=1)
            scale, shift = scale * (1.0 + by), shift + to
        factor = scale * torch.rsqrt(var + EPS)
        # One pass over x: a factor and an offset a channel.
        found = torch.addcmul(shift - mean * factor, x, factor)
        # Two pixels of brain have hardly a variance: what lies beside them would grow without end.
        return found if brain is None else found * brain


def pyramid(brain: Tensor, levels: int) -> list[Tensor]:
    """A mask, (B, 1, h, w), at every level of a U-Net: a pixel counts where any of it does."""
    found = [brain]
    for _ in range(levels):
        found.append(nnf.max_pool2d(found[-1], 2))
    return found

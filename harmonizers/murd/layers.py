"""Blocks of the published networks: instance norms, reflected edges, one head a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from motet.harmonizers._images.norms import Norm

SLOPE = 0.2
"""Of leaky ReLUs below 0."""


def reflected(x: Tensor, by: int) -> Tensor:
    """`x`, (B, C, h, w), with `by` pixels more at each edge, mirrored.

    Of slices put together: torch's own has no deterministic gradient on a GPU.
    """
    if not by:
        return x
    x = torch.cat([x[:, :, 1 : by + 1].flip(2), x, x[:, :, -by - 1 : -1].flip(2)], dim=2)
    left, right = x[:, :, :, 1 : by + 1].flip(3), x[:, :, :, -by - 1 : -1].flip(3)
    return torch.cat([left, x, right], dim=3)


def begin(module: nn.Module) -> None:
    """First weights of convolutions and linear layers (He et al. 2015), biases of 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, a=SLOPE)
            assert part.bias is not None
            nn.init.zeros_(part.bias)


class Conv(nn.Module):
    """Convolution with mirrored edges, norm (if `normed`), leaky ReLU (if `bent`)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        style: int = 0,
        normed: bool = True,
        bent: bool = True,
    ) -> None:
        super().__init__()
        self.by, self.bent = (kernel - 1) // 2, bent
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride)
        self.norm = Norm(outputs, style) if normed else None

    def forward(
        self, x: Tensor, brain: Tensor | None = None, style: Tensor | None = None
    ) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        x = self.conv(reflected(x, self.by))
        if self.norm is not None:
            x = self.norm(x, brain, style)
        return nnf.leaky_relu(x, SLOPE) if self.bent else x


class Up(nn.Module):
    """Transposed convolution that doubles an image, norm, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.norm = Norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, 2 h, 2 w)."""
        return nnf.leaky_relu(self.norm(self.conv(x), None, None), SLOPE)


class Residual(nn.Module):
    """A residual block of two convolutions of 3 x 3."""

    def __init__(self, channels: int, style: int = 0) -> None:
        super().__init__()
        self.first = Conv(channels, channels, 3, style=style)
        self.second = Conv(channels, channels, 3, style=style, bent=False)

    def forward(
        self, x: Tensor, brain: Tensor | None = None, style: Tensor | None = None
    ) -> Tensor:
        """(B, channels, h, w), as it comes out."""
        found: Tensor = x + self.second(self.first(x, brain, style), brain, style)
        return found


class Halving(nn.Module):
    """Pre-activation block of the style encoder: no norm, which would hide the style."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3)
        self.second = nn.Conv2d(outputs, outputs, 3)
        self.beside = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / 2, w / 2)."""
        made = self.first(reflected(nnf.leaky_relu(x, SLOPE), 1))
        made = self.second(reflected(nnf.leaky_relu(made, SLOPE), 1))
        found: Tensor = nnf.avg_pool2d(made, 2) + self.beside(nnf.avg_pool2d(x, 2))
        return found


class Heads(nn.Module):
    """A linear layer for every batch; batches lie along the first axis of its parameters.

    Parameters
    ----------
    order : sequence of int
        Batches by name: first weights are drawn in this order, so that they do not depend on
        which site has a batch.
    inputs, outputs : int
    """

    def __init__(self, order: Sequence[int], inputs: int, outputs: int) -> None:
        super().__init__()
        drawn = torch.randn(len(order), outputs, inputs) * math.sqrt(1.0 / inputs)
        weight = torch.empty_like(drawn)
        weight[list(order)] = drawn
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(order), outputs))

    def forward(self, x: Tensor, batch: Tensor) -> Tensor:
        """(B, inputs), each by the head of its batch, (B,) int64: (B, outputs)."""
        return torch.einsum("bi,boi->bo", x, self.weight[batch]) + self.bias[batch]

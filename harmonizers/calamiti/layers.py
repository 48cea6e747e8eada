"""Blocks of 2-D networks: convolutions with instance norms, and U-Nets of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from motet.harmonizers._images.norms import Norm

SLOPE = 0.01
"""Of leaky ReLUs below 0."""


class Conv(nn.Module):
    """Convolution, instance norm (if `normed`), leaky ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        style: int = 0,
        normed: bool = True,
    ) -> None:
        super().__init__()
        padding = (kernel - 1) // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding)
        self.norm = Norm(outputs, style) if normed else None

    def forward(
        self, x: Tensor, brain: Tensor | None = None, style: Tensor | None = None
    ) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        found = self.conv(x)
        if self.norm is not None:
            found = self.norm(found, brain, style)
        return nnf.leaky_relu(found, SLOPE)


class Block(nn.Module):
    """Two convolutions of 3 x 3."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.first = Conv(inputs, outputs, style=style)
        self.second = Conv(outputs, outputs, style=style)

    def forward(self, x: Tensor, brain: Tensor | None, style: Tensor | None) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        found: Tensor = self.second(self.first(x, brain, style), brain, style)
        return found


class UNet(nn.Module):
    """U-Net as CALAMITI has it: a bare convolution first and last, bilinear steps up.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    base : int
        Channels of the first convolution; every level has twice as many.
    levels : int
        Times that the image is halved.
    style : int
        See :class:`Norm`.
    linear : bool
        Whether the last convolution is bare; as published it has a leaky ReLU.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        base: int,
        levels: int,
        style: int = 0,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.linear = linear
        widths = [base * 2 ** (k + 1) for k in range(levels + 1)]
        self.first = nn.Conv2d(inputs, base, 3, padding=1)
        self.down = nn.ModuleList(
            Block(a, b, style) for a, b in zip([base, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            Conv(2 * width, width, style=style) for width in reversed(widths[:-1])
        )
        self.join = nn.ModuleList(Block(2 * width, width, style) for width in reversed(widths[:-1]))
        self.last = nn.Conv2d(2 * base, outputs, 3, padding=1)

    def forward(
        self, x: Tensor, brains: Sequence[Tensor] | None = None, style: Tensor | None = None
    ) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w).

        Parameters
        ----------
        brains : sequence of (B, 1, h / 2^k, w / 2^k), optional
            Of every level: see :func:`pyramid`.
        """
        at = brains if brains is not None else [None] * len(self.down)
        # Convolutions of few channels are a fifth faster where those of a pixel lie side by side.
        x, skips = self.first(x).contiguous(memory_format=torch.channels_last), []
        for level, block in enumerate(self.down):
            if level:
                x = nnf.max_pool2d(x, 2)
            x = block(x, at[level], style)
            skips.append(x)
        skips.pop()
        for k, (up, join) in enumerate(zip(self.up, self.join, strict=True)):
            level = len(skips) - 1 - k
            x = nnf.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = join(torch.cat([skips[level], up(x, at[level], style)], dim=1), at[level], style)
        x = self.last(x)
        return x if self.linear else nnf.leaky_relu(x, SLOPE)

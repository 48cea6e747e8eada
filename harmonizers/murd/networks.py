"""The networks of MURD (Liu and Yap 2024): shared trunks, with one linear head a batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from motet.harmonizers.murd.layers import SLOPE, Conv, Halving, Heads, Residual, Up, begin
from motet.harmonizers.murd.light import LightContent, LightCritic, LightGenerator, detail_of
from motet.harmonizers.murd.sizes import NEIGHBOURS, Sizes


class ContentEncoder(nn.Module):
    """Slices to a code of their anatomy, a quarter as large."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        w = sizes.content
        self.first = Conv(NEIGHBOURS, w, 7)
        self.down = nn.ModuleList([Conv(k * w, 2 * k * w, 4, stride=2) for k in (1, 2)])
        self.blocks = nn.ModuleList([Residual(sizes.code) for _ in range(sizes.blocks)])

    def forward(self, x: Tensor, brain: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, code, h / 4, w / 4)."""
        x = self.first(x)
        for layer in (*self.down, *self.blocks):
            x = layer(x)
        return x


class StyleEncoder(nn.Module):
    """Slices to features of their style, which heads make codes of."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.first = Conv(NEIGHBOURS, widths[0], 4, stride=2, normed=False, bent=False)
        pairs = pairwise(widths)
        self.blocks = nn.Sequential(*(Halving(a, b) for a, b in pairs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, widths[-1])."""
        return nnf.leaky_relu(self.blocks(self.first(x)), SLOPE).mean(dim=(2, 3))


class StyleGenerator(nn.Module):
    """Noise to features, of which heads make style codes."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        widths = [sizes.noise, *[sizes.mapping] * sizes.layers]
        pairs = pairwise(widths)
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairs])

    def forward(self, z: Tensor) -> Tensor:
        """(B, noise) -> (B, mapping)."""
        for layer in self.layers:
            z = nnf.leaky_relu(layer(z), SLOPE)
        return z


class Generator(nn.Module):
    """A content code and a style code to slices."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        w = sizes.code + sizes.style
        self.blocks = nn.Sequential(*(Residual(w) for _ in range(sizes.blocks)))
        self.up = nn.Sequential(Up(w, w // 2), Up(w // 2, w // 4))
        self.last = Conv(w // 4, NEIGHBOURS, 7, normed=False, bent=False)

    def forward(self, code: Tensor, style: Tensor, detail: Tensor, brain: Tensor) -> Tensor:
        """(B, code, h / 4, w / 4) and (B, style) -> (B, 3, h, w)."""
        plane = style[:, :, None, None].expand(-1, -1, *code.shape[2:])
        made = self.up(self.blocks(torch.cat([code, plane], dim=1)))
        return torch.tanh(self.last(made))


class Critic(nn.Module):
    """Slices to features of whether they are real, of which heads make a logit."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Conv(NEIGHBOURS, width, 4, stride=2, normed=False),
            Conv(width, 2 * width, 4, stride=2),
            Conv(2 * width, 4 * width, 4),
        )

    def forward(self, x: Tensor, brain: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, 4 width)."""
        found: Tensor = self.layers(x).mean(dim=(2, 3))
        return found


class Murd(nn.Module):
    """All of them; the children are the groups of the training.

    Parameters
    ----------
    sizes : Sizes
    order : sequence of int
        Batches by name: see :class:`~motet.harmonizers.murd.layers.Heads`.
    """

    def __init__(self, sizes: Sizes, order: Sequence[int]) -> None:
        super().__init__()
        self.sizes = sizes
        light = sizes.light
        self.content_encoder = LightContent(sizes) if light else ContentEncoder(sizes)
        self.style_encoder = StyleEncoder(sizes.style_widths)
        self.style_generator = StyleGenerator(sizes)
        self.generator = LightGenerator(sizes) if light else Generator(sizes)
        self.critic = LightCritic(sizes.critic) if light else Critic(sizes.critic)
        begin(self)
        if isinstance(self.generator, LightGenerator):
            self.generator.begin()
        self.style_heads = Heads(order, sizes.style_widths[-1], sizes.style)
        self.code_heads = Heads(order, sizes.mapping, sizes.style)
        self.critic_heads = Heads(order, sizes.judged, 1)

    def detail(self, x: Tensor, brain: Tensor) -> Tensor:
        """What :meth:`content` and :meth:`made` see of slices: as published, the slices.

        Parameters
        ----------
        x : (B, 3, h, w)
        brain : (B, 1, h, w)
        """
        return detail_of(x, brain) if self.sizes.light else x

    def content(self, detail: Tensor, brain: Tensor) -> Tensor:
        """Content codes of slices' detail."""
        found: Tensor = self.content_encoder(detail, brain)
        return found

    def style(self, x: Tensor, batch: Tensor) -> Tensor:
        """Style codes, (B, style), that the encoder reads from slices of these batches."""
        found: Tensor = self.style_heads(self.style_encoder(x), batch)
        return found

    def style_of(self, z: Tensor, batch: Tensor) -> Tensor:
        """Style codes, (B, style), that the style generator makes of z for these batches."""
        found: Tensor = self.code_heads(self.style_generator(z), batch)
        return found

    def made(self, code: Tensor, style: Tensor, detail: Tensor, brain: Tensor) -> Tensor:
        """Slices, (B, 3, h, w), of content codes with style codes.

        Parameters
        ----------
        detail : (B, 3, h, w)
            Of the slices of the content; the published generator does not look at it.
        """
        found: Tensor = self.generator(code, style, detail, brain)
        return found

    def judged(self, x: Tensor, brain: Tensor, batch: Tensor) -> Tensor:
        """Logits, (B,), of being real slices of these batches."""
        found: Tensor = self.critic_heads(self.critic(x, brain), batch)
        return found[:, 0]

"""Networks of the preset ``small``: what a laptop trains in minutes. Not as published.

Norms are taken within the brain. A style scales and shifts the generator's norms, as an input of
constant planes it is lost in the next norm; and the generator sees the detail of the slices beside
their code: the slices themselves with mean 0 and variance 1 over the brain. It begins as an
intensity's scale and shift. The discriminator has no norms, which hide the contrast.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from motet.harmonizers._images.norms import moments, pyramid
from motet.harmonizers._images.shading import evened, spread
from motet.harmonizers.murd.layers import Conv, Residual
from motet.harmonizers.murd.sizes import GRID, NEIGHBOURS, Sizes

AROUND = 25
"""Edge of the surroundings that a pixel is compared with, pixels."""
LEAST = 0.1
MEAN, SPREAD = 1.1, 0.45
"""About those of a T1w brain in what networks see."""


def detail_of(x: Tensor, brain: Tensor) -> Tensor:
    """Differences from the mean around, of variance 1 over the brain, 0 beside it, (B, 3, h, w)."""
    return evened(x + 1.0, brain, AROUND, least=LEAST)


class LightContent(nn.Module):
    """Slices to a code of their anatomy, a quarter as large."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        w = sizes.content
        self.layers = nn.ModuleList(
            [
                Conv(NEIGHBOURS, w, 3),
                Conv(w, 2 * w, 3, stride=2),
                Conv(2 * w, 4 * w, 3, stride=2),
            ]
        )
        self.blocks = nn.ModuleList([Residual(sizes.code) for _ in range(sizes.blocks)])

    def forward(self, x: Tensor, brain: Tensor) -> Tensor:
        """Detail, (B, 3, h, w) -> (B, code, h / 4, w / 4)."""
        brains = pyramid(brain, 2)
        for layer, inside in zip(self.layers, brains, strict=True):
            x = layer(x, inside)
        for block in self.blocks:
            x = block(x, brains[-1])
        return x


class LightGenerator(nn.Module):
    """A content code, a style code and the slices' detail to slices."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        w, style = sizes.content, sizes.style
        self.blocks = nn.ModuleList([Residual(4 * w, style) for _ in range(sizes.blocks)])
        self.to_half = Conv(4 * w, 2 * w, 3, style=style)
        self.to_whole = Conv(2 * w, w, 3, style=style)
        self.joined = Conv(w + NEIGHBOURS, 2 * w, 3, style=style)
        self.last = Conv(2 * w, NEIGHBOURS, 3, normed=False, bent=False)
        self.curve = nn.Linear(style, 2 * NEIGHBOURS)
        self.shading = nn.Linear(style, GRID**2)

    def begin(self) -> None:
        """First weights: a scale and a shift of the detail, the same for every style."""
        nn.init.zeros_(self.last.conv.weight)
        nn.init.zeros_(self.curve.weight)
        nn.init.zeros_(self.shading.weight)
        for part in self.modules():
            if isinstance(part, nn.Linear) and part not in (self.curve, self.shading):
                nn.init.normal_(part.weight, std=0.1 / part.in_features**0.5)

    def forward(self, code: Tensor, style: Tensor, detail: Tensor, brain: Tensor) -> Tensor:
        """(B, code, h / 4, w / 4), (B, style) and (B, 3, h, w) -> (B, 3, h, w)."""
        whole, half, quarter = pyramid(brain, 2)
        for block in self.blocks:
            code = block(code, quarter, style)
        made = self.to_half(_doubled(code), half, style)
        made = self.to_whole(_doubled(made), whole, style)
        made = self.last(self.joined(torch.cat([made, detail], dim=1), whole, style))
        scale, shift = self.curve(style)[:, :, None, None].chunk(2, dim=1)
        made = made + (SPREAD + scale) * detail + MEAN + shift
        gain = torch.exp(0.3 * spread(self.shading(style).view(-1, 1, GRID, GRID), made.shape[2:]))
        found: Tensor = gain * made * brain - 1.0
        return found


def _doubled(x: Tensor) -> Tensor:
    return nnf.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class LightCritic(nn.Module):
    """Slices to features of whether they are real: mean over the brain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Conv(NEIGHBOURS + 2, width, 4, stride=2, normed=False),
            Conv(width, 2 * width, 4, stride=2, normed=False),
            Conv(2 * width, 4 * width, 4, normed=False),
        )

    def forward(self, x: Tensor, brain: Tensor) -> Tensor:
        """(B, 3, h, w) -> (B, 4 width)."""
        found = self.layers(torch.cat([x, places(x)], dim=1))
        mean, var = moments(found, nnf.adaptive_avg_pool2d(brain, found.shape[2:]))
        return torch.cat([mean, (var + 1e-4).sqrt()], dim=1).flatten(1)


def places(x: Tensor) -> Tensor:
    """Where every pixel lies, -1 to 1 along both axes, (B, 2, h, w)."""
    rows, columns = (torch.linspace(-1, 1, n, dtype=x.dtype, device=x.device) for n in x.shape[2:])
    both = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return both.expand(len(x), -1, -1, -1)

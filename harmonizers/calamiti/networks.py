"""The networks of CALAMITI (Zuo et al. 2021, section 3): two encoders, a decoder, a critic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from motet.harmonizers._images.norms import moments, pyramid
from motet.harmonizers._images.shading import evened, spread
from motet.harmonizers.calamiti.layers import SLOPE, Conv, UNet
from motet.harmonizers.calamiti.sizes import LEAST, WHITE, Sizes
from motet.training.spectral import spectral

SHADING = 0.3
"""Logarithm of the gain that a 1 in the style code's shading stands for."""
QUIET, LOUDEST = -8.0, 8.0
"""Log variance of theta's noise at first, where the style encoder pools, and its largest change."""
CERTAIN = -12.0
"""Log variance of the noise of shading in the training."""
LEAST_SHARE = 0.05
"""Of a cell that is brain: less counts as this much."""


class AnatomyHead(nn.Module):
    """Features to logits of the anatomy code; it alone is adapted at a new site."""

    def __init__(self, inputs: int, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        pairs = zip([inputs, *widths], widths, strict=False)
        self.layers = nn.ModuleList(Conv(a, b) for a, b in pairs)
        self.last = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, x: Tensor, brains: list[Tensor] | None) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        for layer in self.layers:
            x = layer(x, brains[0] if brains else None)
        found: Tensor = self.last(x)
        return found


class StyleEncoder(nn.Module):
    """An image to features of its contrast: four convolutions of stride 2."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = zip([1, *widths], widths, strict=False)
        self.layers = nn.Sequential(*(Conv(a, b, kernel=4, stride=2) for a, b in pairs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, h, w) -> (B, widths[-1], h / 16, w / 16)."""
        found: Tensor = self.layers(x)
        return found


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """What a style encoder found, pooled over the brain.

    Attributes
    ----------
    whole : (B, 2 C, 1, 1)
        Mean and standard deviation of features.
    cells : (B, C, k, k)
        Their mean in cells of a coarse grid.
    share : (B, 1, k, k)
        How much of a cell is brain.
    """

    whole: Tensor
    cells: Tensor
    share: Tensor


class PooledStyle(nn.Module):
    """The same without norms, which hide the contrast that is asked for; pooled over the brain.

    It learns in tens of steps what the published one takes hundreds for.

    Parameters
    ----------
    widths : sequence of int
    cells : int
        Edge of the coarse grid in which shading is seen.
    """

    def __init__(self, widths: Sequence[int], cells: int) -> None:
        super().__init__()
        pairs = zip([1, *widths], widths, strict=False)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.cells = max(1, cells)

    def forward(self, x: Tensor) -> Pooled:
        """Take (B, 1, h, w)."""
        brain = (x > 0).to(x.dtype)
        x = (x - 0.8 * WHITE) / (0.5 * WHITE) * brain
        for layer in self.layers:
            x = nnf.leaky_relu(layer(x), SLOPE)
        share = nnf.adaptive_avg_pool2d(brain, (x.shape[2], x.shape[3]))
        mean, var = moments(x, share)
        cells = nnf.adaptive_avg_pool2d(x * share, self.cells)
        part = nnf.adaptive_avg_pool2d(share, self.cells)
        return Pooled(
            whole=torch.cat([mean, (var + 1e-4).sqrt()], dim=1),
            cells=cells / part.clamp_min(LEAST_SHARE),
            share=part,
        )


class StyleHead(nn.Module):
    """Features to a number of a style code."""

    def __init__(
        self, inputs: int, between: int, outputs: int, edge: int, *, normed: bool = True
    ) -> None:
        super().__init__()
        self.first = Conv(inputs, between, kernel=1, normed=normed)
        self.last = nn.Conv2d(between, outputs, edge, stride=edge)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, edge, edge) -> (B, outputs)."""
        found: Tensor = self.last(self.first(x))
        return found.flatten(1)


class ShadingHead(nn.Module):
    """What is seen in the cells of a coarse grid to the image's shading there.

    A cell's brightness says how it is shaded once the whole tells of the contrast. A table of
    scanners' shadings, which theta would have to point into, is learned far more slowly.
    """

    def __init__(self, inputs: int, between: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3 * inputs, between, 1)
        self.last = nn.Conv2d(between, 1, 1)

    def forward(self, seen: Pooled) -> Tensor:
        """Give (B, k * k): mean 0 over the brain."""
        whole = seen.whole.expand(-1, -1, *seen.cells.shape[2:])
        both = torch.cat([seen.cells, whole], dim=1)
        found = self.last(nnf.leaky_relu(self.first(both), SLOPE))
        weighed = (found * seen.share).sum(dim=(2, 3), keepdim=True)
        mean = weighed / seen.share.sum(dim=(2, 3), keepdim=True).clamp_min(LEAST_SHARE)
        return torch.flatten(found - mean, 1)


class Decoder(nn.Module):
    """Anatomy and style codes to images.

    Parameters
    ----------
    sizes : Sizes
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        style = sizes.mapping or sizes.style
        inputs = sizes.anatomy + (0 if sizes.film else sizes.style)
        self.unet = UNet(
            inputs,
            1,
            base=sizes.decoder_base,
            levels=sizes.levels,
            style=style if sizes.film else 0,
            linear=sizes.film,
        )
        self.mapping = (
            nn.ModuleList([nn.Linear(sizes.style, style), nn.Linear(style, style)])
            if sizes.mapping
            else None
        )

    def forward(self, code: Tensor, theta: Tensor, brains: list[Tensor] | None) -> Tensor:
        """(B, anatomy, h, w) and (B, codes) -> (B, 1, h, w)."""
        if not self.sizes.film:
            plane = theta[:, :, None, None].expand(-1, -1, *code.shape[2:])
            found: Tensor = self.unet(torch.cat([code, plane], dim=1), brains)
            return found
        contrast, shading = theta[:, : self.sizes.style], theta[:, self.sizes.style :]
        for layer in self.mapping or ():
            contrast = nnf.leaky_relu(layer(contrast), SLOPE)
        # Of first weights it is about white matter, and differs about as tissues do.
        made: Tensor = 0.8 * WHITE + 0.4 * WHITE * self.unet(code, brains, contrast)
        if self.sizes.shading:
            edge = self.sizes.shading
            field = spread(shading.reshape(-1, 1, edge, edge), code.shape[2:])
            made = made * torch.exp(SHADING * field)
        return made


class Critic(nn.Module):
    """Tells whether an anatomy code and a label belong together, patch by patch."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        widths = ((inputs, 16, 4), (16, 64, 4), (64, 64, 4), (64, 16, 1))
        self.layers = nn.ModuleList(
            Conv(a, b, kernel=k, stride=2 if k == 4 else 1) for a, b, k in widths
        )
        for layer in self.layers:
            assert isinstance(layer, Conv)
            spectral(layer.conv)
        self.last = spectral(nn.Conv2d(16, 1, 1))

    def forward(self, code: Tensor, label: Tensor) -> Tensor:
        """(B, inputs - 1, h, w) and (B,) -> logits, (B, 1, h / 8, w / 8)."""
        plane = label.view(-1, 1, 1, 1).expand(-1, 1, *code.shape[2:]).to(code.dtype)
        x = torch.cat([code, plane], dim=1)
        for layer in self.layers:
            x = layer(x)
        found: Tensor = self.last(x)
        return found


class Calamiti(nn.Module):
    """All of them; the children are the groups of the training.

    Parameters
    ----------
    sizes : Sizes
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        features = 2 * sizes.anatomy_base
        self.anatomy = UNet(1, features, base=sizes.anatomy_base, levels=sizes.levels)
        self.anatomy_head = AnatomyHead(features, sizes.head_widths, sizes.anatomy)
        widths, pooled = sizes.style_widths, sizes.pooled
        self.style = PooledStyle(widths, sizes.shading) if pooled else StyleEncoder(widths)
        self.style_head = nn.ModuleDict(
            {
                name: StyleHead(
                    (2 if pooled else 1) * widths[-1],
                    sizes.style_between,
                    sizes.style,
                    1 if pooled else sizes.pixels // 16,
                    normed=not pooled,
                )
                for name in ("mean", "log_var")
            }
        )
        if pooled:
            # Noise as large as styles differ would hide them from the decoder for long.
            noise = self.style_head["log_var"]
            assert isinstance(noise, StyleHead)
            assert noise.last.bias is not None
            nn.init.constant_(noise.last.bias, QUIET)
            if sizes.shading:
                self.style_head["shading"] = ShadingHead(widths[-1], sizes.style_between)
        self.decoder = Decoder(sizes)
        self.critic = Critic(sizes.anatomy + 1)

    def brains(self, brain: Tensor) -> list[Tensor] | None:
        """The mask, (B, 1, h, w), at every level, where norms are taken within it."""
        if not self.sizes.within:
            return None
        return pyramid(brain, self.sizes.levels)

    def logits(self, x: Tensor, brains: list[Tensor] | None) -> Tensor:
        """Logits of the anatomy code beta, (B, anatomy, h, w), of images (B, 1, h, w)."""
        if brains is not None:
            # Beside the step from nothing to brain, tissues hardly differ; anatomy has no gain.
            x = evened(x, brains[0], self.sizes.evened, least=LEAST)
        found: Tensor = self.anatomy_head(self.anatomy(x, brains), brains)
        return found

    def code(self, logits: Tensor, gumbel: Tensor | None, temperature: float) -> Tensor:
        """The anatomy code: one-hot with a straight-through gradient, or soft.

        Parameters
        ----------
        logits : (B, anatomy, h, w)
        gumbel : (B, anatomy, h, w), optional
            Noise of a training; without it the code is the largest logit's.
        temperature : float
        """
        noisy = logits if gumbel is None else logits + gumbel
        soft = torch.softmax(noisy / temperature, dim=1)
        if not self.sizes.one_hot:
            return soft
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
        return hard + (soft - soft.detach())

    def contrast(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the style code theta, (B, codes) each, of images."""
        seen = self.style(x)
        whole = seen.whole if self.sizes.pooled else seen
        mean, log_var = self.style_head["mean"](whole), self.style_head["log_var"](whole)
        if self.sizes.pooled:
            # What is hardly weighed can go anywhere in one step, and noise is its exponential.
            log_var = QUIET + LOUDEST * torch.tanh((log_var - QUIET) / LOUDEST)
        if not self.sizes.shading:
            return mean, log_var
        shading = self.style_head["shading"](seen)
        certain = torch.full_like(shading, CERTAIN)
        return torch.cat([mean, shading], dim=1), torch.cat([log_var, certain], dim=1)

    def decode(self, code: Tensor, theta: Tensor, brains: list[Tensor] | None) -> Tensor:
        """Images, (B, 1, h, w), of anatomy codes with style codes."""
        found: Tensor = self.decoder(code, theta, brains)
        return found

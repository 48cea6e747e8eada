"""The networks of CALAMITI (Zuo et al. 2021, section 3): two encoders, a decoder, a critic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from motet.harmonizers.calamiti.layers import Conv, UNet, normed, pyramid
from motet.harmonizers.calamiti.sizes import Sizes
from motet.training.spectral import spectral


class AnatomyHead(nn.Module):
    """Features to logits of the anatomy code; it alone is adapted at a new site."""

    def __init__(self, inputs: int, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        pairs = zip([inputs, *widths], widths, strict=False)
        self.layers = nn.ModuleList(Conv(a, b) for a, b in pairs)
        self.last = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, x: Tensor, brain: Tensor | None) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        for layer in self.layers:
            x = layer(x, brain)
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


class StyleHead(nn.Module):
    """Features to a number of a style code."""

    def __init__(self, inputs: int, between: int, outputs: int, edge: int) -> None:
        super().__init__()
        self.first = Conv(inputs, between, kernel=1)
        self.last = nn.Conv2d(between, outputs, edge, stride=edge)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, edge, edge) -> (B, outputs)."""
        found: Tensor = self.last(self.first(x))
        return found.flatten(1)


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
        features, phases = 2 * sizes.anatomy_base, sizes.fold**2
        self.anatomy = UNet(phases, features, base=sizes.anatomy_base, levels=sizes.levels)
        self.anatomy_head = AnatomyHead(features, sizes.head_widths, sizes.anatomy * phases)
        self.style = StyleEncoder(sizes.style_widths)
        edge = sizes.pixels // 16
        self.style_head = nn.ModuleDict(
            {
                name: StyleHead(
                    sizes.style_widths[-1],
                    sizes.style_between,
                    sizes.style,
                    edge,
                )
                for name in ("mean", "log_var")
            }
        )
        inputs = (sizes.anatomy + sizes.detail) * phases + (0 if sizes.film else sizes.style)
        self.decoder = UNet(
            inputs,
            phases,
            base=sizes.decoder_base,
            levels=sizes.levels,
            style=sizes.style if sizes.film else 0,
        )
        self.critic = Critic(sizes.anatomy + 1)

    def brains(self, brain: Tensor) -> list[Tensor] | None:
        """The mask, (B, 1, h, w), then at every level, where norms are taken within it."""
        if not self.sizes.within:
            return None
        folded = brain if self.sizes.fold == 1 else nnf.max_pool2d(brain, self.sizes.fold)
        return [brain, *pyramid(folded, self.sizes.levels)]

    def logits(self, x: Tensor, brains: list[Tensor] | None) -> Tensor:
        """Logits of the anatomy code beta, (B, anatomy, h, w), of images (B, 1, h, w)."""
        whole, levels = (None, None) if brains is None else (brains[0], brains[1:])
        if whole is not None:
            # Beside the step from nothing to brain, tissues hardly differ; anatomy has no gain.
            x = normed(x, whole)
        features = self.anatomy(nnf.pixel_unshuffle(x, self.sizes.fold), levels)
        folded = self.anatomy_head(features, levels[0] if levels else None)
        found: Tensor = nnf.pixel_shuffle(folded, self.sizes.fold)
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
        """Mean and log variance of the style code theta, (B, style) each, of images."""
        features = self.style(x)
        return self.style_head["mean"](features), self.style_head["log_var"](features)

    def decode(
        self,
        code: Tensor,
        theta: Tensor,
        brains: list[Tensor] | None,
        detail: Tensor | None = None,
    ) -> Tensor:
        """Images, (B, 1, h, w), of anatomy codes with style codes."""
        parts = [code] if detail is None else [code, detail]
        folded = nnf.pixel_unshuffle(torch.cat(parts, dim=1), self.sizes.fold)
        levels = None if brains is None else brains[1:]
        if self.sizes.film:
            made = self.decoder(folded, levels, theta)
        else:
            plane = theta[:, :, None, None].expand(-1, -1, *folded.shape[2:])
            made = self.decoder(torch.cat([folded, plane], dim=1), levels)
        return self.sizes.unit * nnf.pixel_shuffle(made, self.sizes.fold)


def detail_of(x: Tensor, brain: Tensor) -> Tensor:
    """What a smooth image lacks of `x`, (B, 1, h, w), without the size of its contrast.

    Difference from the mean of the 5 x 5 brain pixels around, divided by its own standard deviation
    over the brain.
    """

    def mean(values: Tensor) -> Tensor:
        return nnf.avg_pool2d(values, 5, stride=1, padding=2)

    apart = (x - mean(x * brain) / mean(brain).clamp_min(1e-3)) * brain
    count = brain.sum(dim=(2, 3), keepdim=True).clamp_min(1.0)
    spread = (apart.square().sum(dim=(2, 3), keepdim=True) / count).sqrt()
    return apart / (spread + 1e-6)

"""Sizes of the networks, without torch: a site counts parameters before it trains any."""

from __future__ import annotations

from dataclasses import dataclass

WHITE = 0.25
"""Intensity of white matter in what networks see."""
LEAST = 0.1 * WHITE
"""What is divided by counts as no smaller than this: a mean of surroundings, a decoded image."""
TOP = 2 * WHITE
"""Intensity up to which random curves bend; above, they go on as at their end."""
KNOTS = 11
"""Of a curve that may fall: neighbours lie closer than grey and white matter, so that what
lies between tissues may change places with them."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the networks are, and what the smaller presets change in them.

    Attributes
    ----------
    pixels : int
        Of a slice along an edge; a multiple of 16.
    anatomy, style : int
        Channels of the anatomy code beta; numbers of the style code theta.
    anatomy_base, decoder_base, levels : int
        Of the U-Nets.
    head_widths : tuple of int
        Channels of the anatomy head's convolutions before its last.
    style_widths : tuple of int
        Channels of the style encoder's four convolutions.
    style_between : int
        Channels between the two layers of its heads.
    one_hot : bool
        Whether the anatomy code is one-hot.
    film : bool
        Whether theta scales and shifts the decoder's norms, instead of being channels of its input.
    within : bool
        Whether U-Nets take their norms within the brain.
    evened : int
        Pixels along an edge of the surroundings that the anatomy encoder's input is compared with.
    pooled : bool
        Whether the style encoder has no norms and pools over the brain.
    mapping : int
        Width of two layers from theta to what scales and shifts the norms; 0: theta itself does.
    shading : int
        Edge of the coarse grid of a smooth gain that is a part of the style code; 0: none. Only
        with `pooled` and `film`.
    fusion_widths : tuple of int
        Channels of the convolutions of the network that makes one volume of those of the planes.
    fusion_adds : bool
        Whether that network adds to the planes' median, and begins with nothing.
    """

    pixels: int
    anatomy: int = 4
    style: int = 2
    anatomy_base: int = 8
    decoder_base: int = 16
    levels: int = 4
    head_widths: tuple[int, ...] = (16, 32, 64)
    style_widths: tuple[int, ...] = (32, 64, 128, 128)
    style_between: int = 32
    one_hot: bool = True
    film: bool = False
    within: bool = False
    evened: int = 25
    pooled: bool = False
    mapping: int = 0
    shading: int = 0
    fusion_widths: tuple[int, ...] = (8, 16, 16)
    fusion_adds: bool = False

    @property
    def codes(self) -> int:
        """Numbers of the whole style code: theta's, and the shading's."""
        return self.style + self.shading**2

    @property
    def groups(self) -> dict[str, int]:
        """Numbers in every group: parameters, and the critic's buffers."""
        features, last = 2 * self.anatomy_base, self.style_widths[-1]
        if self.pooled:
            head = _plain(2 * last, self.style_between, 1) + _plain(
                self.style_between, self.style, 1
            )
        else:
            head = _conv(last, self.style_between, 1)
            head += _plain(self.style_between, self.style, self.pixels // 16)
        inputs = self.anatomy + (0 if self.film else self.style)
        style = self.mapping or self.style
        decoder = _unet(inputs, 1, self.decoder_base, self.levels, style if self.film else 0)
        if self.mapping:
            decoder += _plain(self.style, style, 1) + _plain(style, style, 1)
        shading = 0
        if self.shading:
            shading = _plain(3 * last, self.style_between, 1) + _plain(self.style_between, 1, 1)
        critic = ((self.anatomy + 1, 16, 4), (16, 64, 4), (64, 64, 4), (64, 16, 1))
        return {
            "anatomy": _unet(1, features, self.anatomy_base, self.levels, 0),
            "anatomy_head": sum(
                _conv(a, b)
                for a, b in zip([features, *self.head_widths], self.head_widths, strict=False)
            )
            + _plain(self.head_widths[-1], self.anatomy, 3),
            "style": sum(
                _plain(a, b, 3) if self.pooled else _conv(a, b, 4)
                for a, b in zip([1, *self.style_widths], self.style_widths, strict=False)
            ),
            "style_head": 2 * head + shading,
            "decoder": decoder,
            # A spectral norm keeps a vector as long as the convolution has outputs.
            "critic": sum(_conv(a, b, k) + b for a, b, k in critic) + _plain(16, 1, 1) + 1,
        }


def of_fusion(planes: int, sizes: Sizes) -> int:
    """Parameters of the network that makes one volume of those of some planes."""
    widths = sizes.fusion_widths
    layers = [*zip([planes, *widths], widths, strict=False), (widths[-1] + planes, widths[-1])]
    return sum(27 * a * b + b for a, b in [*layers, (widths[-1], 1)])


def _plain(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2 + outputs


def _conv(inputs: int, outputs: int, kernel: int = 3, style: int = 0) -> int:
    film = 2 * outputs * (style + 1) if style else 0
    return _plain(inputs, outputs, kernel) + 2 * outputs + film


def _unet(inputs: int, outputs: int, base: int, levels: int, style: int) -> int:
    widths = [base * 2 ** (k + 1) for k in range(levels + 1)]
    count = _plain(inputs, base, 3) + _plain(2 * base, outputs, 3)
    for a, b in zip([base, *widths], widths, strict=False):
        count += _conv(a, b, style=style) + _conv(b, b, style=style)
    for width in widths[:-1]:
        count += _conv(2 * width, width, style=style)
        count += _conv(2 * width, width, style=style) + _conv(width, width, style=style)
    return count

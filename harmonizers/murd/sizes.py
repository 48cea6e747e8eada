"""Sizes of the networks, without torch: a site counts parameters before it trains any."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

NEIGHBOURS = 3
"""Slices that networks see and make at once: a slice and those before and after it."""
GRID = 6
"""Edge of the coarse grid of a smooth gain, in ``small``."""
BATCHED = ("style_heads", "code_heads", "critic_heads")
"""Groups with a linear head for every batch: of the style encoder, the style generator, the
discriminator."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the networks are, and what the preset ``small`` changes in them.

    Attributes
    ----------
    pixels : int
        Of a slice along an edge; a multiple of 16.
    content : int
        Channels of the first convolution of the content encoder; each of two halvings doubles
        them.
    blocks : int
        Residual blocks of the content encoder, and of the generator.
    style : int
        Numbers of a style code.
    style_widths : tuple of int
        Channels of the style encoder's first convolution and of its blocks, each of which halves
        the image.
    noise : int
        Numbers of z, of which the style generator makes codes.
    mapping, layers : int
        Width and number of the style generator's layers.
    critic : int
        Channels of the discriminator's first convolution; two more double them.
    light : bool
        Whether content encoder, generator and discriminator are those of
        :mod:`motet.harmonizers.murd.light`.
    """

    pixels: int
    content: int = 64
    blocks: int = 4
    style: int = 64
    style_widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    noise: int = 16
    mapping: int = 128
    layers: int = 6
    critic: int = 64
    light: bool = False

    @property
    def code(self) -> int:
        """Channels of the content code, at a quarter of the image's edge."""
        return 4 * self.content

    @property
    def judged(self) -> int:
        """Features of the discriminator: means, and of ``small`` standard deviations, too."""
        return (8 if self.light else 4) * self.critic

    @property
    def groups(self) -> dict[str, int]:
        """Numbers in every group; of one with heads, in one batch's."""
        return {
            "content_encoder": self._content,
            "style_encoder": self._style,
            "style_heads": _linear(self.style_widths[-1], self.style),
            "style_generator": _linear(self.noise, self.mapping)
            + (self.layers - 1) * _linear(self.mapping, self.mapping),
            "code_heads": _linear(self.mapping, self.style),
            "generator": self._generator,
            "critic": self._critic,
            "critic_heads": _linear(self.judged, 1),
        }

    @property
    def _content(self) -> int:
        w, kernel = self.content, 3 if self.light else 7
        downs = 3 if self.light else 4
        found = _normed(NEIGHBOURS, w, kernel) + _normed(w, 2 * w, downs)
        return found + _normed(2 * w, 4 * w, downs) + 2 * self.blocks * _normed(4 * w, 4 * w, 3)

    @property
    def _style(self) -> int:
        found = _conv(NEIGHBOURS, self.style_widths[0], 4)
        for a, b in pairwise(self.style_widths):
            found += _conv(a, b, 3) + _conv(b, b, 3) + _conv(a, b, 1)
        return found

    @property
    def _generator(self) -> int:
        if not self.light:
            w = self.code + self.style
            found = 2 * self.blocks * _normed(w, w, 3) + _normed(w, w // 2, 4)
            return found + _normed(w // 2, w // 4, 4) + _conv(w // 4, NEIGHBOURS, 7)
        w, film = self.content, self.style
        found = 2 * self.blocks * _normed(4 * w, 4 * w, 3, film)
        found += _normed(4 * w, 2 * w, 3, film) + _normed(2 * w, w, 3, film)
        found += _normed(w + NEIGHBOURS, 2 * w, 3, film) + _conv(2 * w, NEIGHBOURS, 3)
        return found + _linear(self.style, 2 * NEIGHBOURS) + _linear(self.style, GRID**2)

    @property
    def _critic(self) -> int:
        w, count = self.critic, _conv if self.light else _normed
        seen = NEIGHBOURS + (2 if self.light else 0)
        return _conv(seen, w, 4) + count(w, 2 * w, 4) + count(2 * w, 4 * w, 4)


def _linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def _conv(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel**2 + outputs


def _normed(inputs: int, outputs: int, kernel: int, style: int = 0) -> int:
    film = _linear(style, 2 * outputs) if style else 0
    return _conv(inputs, outputs, kernel) + 2 * outputs + film

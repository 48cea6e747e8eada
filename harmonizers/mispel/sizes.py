"""Sizes of a unit, without torch: a site knows how many numbers leave before it trains any."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How wide a unit is.

    Attributes
    ----------
    widths : tuple of int
        Channels of the U-Net's three levels.
    maps : int
        Maps of the embedding, L.
    spread : float
        Standard deviation of a decoder's first weights. Published: 0.05.
    """

    widths: tuple[int, int, int] = (32, 64, 128)
    maps: int = 6
    spread: float = 0.05

    @property
    def encoder(self) -> int:
        """Parameters of the encoder: 3 x 3 convolutions with bias."""
        a, b, c = self.widths
        rows = ((1, a, a, b, b, c, c, b), (2 * b, b, b, a), (2 * a, a, a, self.maps))
        return sum(9 * i * o + o for row in rows for i, o in pairwise(row))

    @property
    def unit(self) -> int:
        """Parameters of encoder and decoder: of the published sizes 518,860."""
        return self.encoder + self.maps

"""Randomness that nobody can foresee or repeat: of the operating system's entropy.

Numbers that hide people must not follow from a seed, and no generator of numpy or torch may be
behind them. Normal numbers are drawn by the method of Box and Muller. Each is half the sum of four,
which keeps the last bits of floating-point noise from telling what it was added to (Holohan and
Braghin 2021, arXiv:2107.10138, section 4).
"""

from __future__ import annotations

import math
from os import urandom

import numpy as np
from numpy.typing import NDArray

FOUR = 4


def whole(count: int) -> NDArray[np.float64]:
    """(count,) float64: integers of 53 bits, uniform."""
    bits = np.frombuffer(urandom(8 * count), dtype="<u8")
    return (bits >> 11).astype(np.float64)


def drawn(count: int, rate: float) -> NDArray[np.bool_]:
    """(count,) bool: who is drawn, each with probability `rate`, whatever becomes of the others."""
    return whole(count) * 2.0**-53 < rate


def _box_muller(count: int) -> NDArray[np.float64]:
    half = -(-count // 2)
    radius = np.sqrt(-2.0 * np.log((whole(half) + 1.0) * 2.0**-53))  # of (0, 1]
    angle = whole(half) * (2.0**-53 * math.tau)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def normal(count: int) -> NDArray[np.float64]:
    """(count,) float64, standard normal."""
    total = _box_muller(count)
    for _ in range(FOUR - 1):
        total += _box_muller(count)
    return total / math.sqrt(FOUR)

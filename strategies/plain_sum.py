"""Sums that the coordinator sees per site: float64, over sites in sorted order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.phases import Sum
from motet.releases import Arrays
from motet.strategies.rounds import Ask


def plain_sum(phase: Sum, ask: Ask, shared: Arrays) -> Arrays:
    """Ask every site for its arrays and conclude from their sum. Raw sums are not shared."""
    replies = ask(phase, shared)
    return phase.conclude(add(replies), shared)


def add(replies: Mapping[str, Arrays]) -> dict[str, NDArray[Any]]:
    """Sum over sites, in sorted order so that the last bit does not depend on who was first.

    Floating-point arrays are summed in float64, integers in int64.
    """
    sums: dict[str, NDArray[Any]] = {}
    for site in sorted(replies):
        for name, array in replies[site].items():
            wide = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
            sums[name] = sums[name] + wide if name in sums else wide
    return sums

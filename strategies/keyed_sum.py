"""One sum for each key, over its holders and read by them: the coordinator cannot read it."""

from __future__ import annotations

from motet.phases import Sum
from motet.releases import Arrays
from motet.strategies.rounds import Ask


def keyed_sum(phase: Sum, ask: Ask, shared: Arrays) -> Arrays:
    """Add every key's masked arrays and hand the sums to the holders, who conclude from them."""
    held = ask.held(phase, shared)
    ask.hand(phase, shared, held)
    return {}

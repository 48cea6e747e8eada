"""Work at the sites of which nothing leaves."""

from __future__ import annotations

from motet.phases import Local
from motet.releases import Arrays
from motet.strategies.rounds import Ask


def local(phase: Local, ask: Ask, shared: Arrays) -> Arrays:
    """Have every site do it and wait until they have."""
    ask(phase, shared)
    return {}

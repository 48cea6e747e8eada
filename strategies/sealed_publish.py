"""Arrays of single sites to one other, sealed to its key: the coordinator relays ciphertext."""

from __future__ import annotations

from motet.phases import Publish
from motet.releases import Arrays
from motet.strategies.rounds import Ask


def sealed_publish(phase: Publish, ask: Ask, shared: Arrays) -> Arrays:
    """Hand the recipient what the phase's sites sealed for it; it keeps that, nobody else knows."""
    ask.deliver(phase, shared, ask.sealed(phase, shared))
    return {}

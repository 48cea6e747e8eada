"""Arrays of single sites, as they are: the weakest promise, so always declared as such."""

from __future__ import annotations

from motet.phases import Publish
from motet.releases import Arrays
from motet.strategies.rounds import Ask


def publish(phase: Publish, ask: Ask, shared: Arrays) -> Arrays:
    """Ask the phase's sites for their arrays and share them under ``<site>/<name>``."""
    replies = ask(phase, shared)
    published = {
        f"{site}/{name}": array for site in sorted(replies) for name, array in replies[site].items()
    }
    if phase.at_coordinator is None:
        return published
    return phase.at_coordinator(published, shared)

"""What is said of a training while it goes on, and how often."""

from __future__ import annotations

from collections.abc import Mapping

from motet.server.events import Event
from motet.training.vocabulary import VALIDATION

LINES = 20
"""Lines of one training, at most, where nothing but lines can be shown."""


def trained(event: Event) -> str:
    """One line: where a training is, its losses, each site's where they can be read, time left."""
    line = f"Training '{event.phase}', {where(event)}"
    line += f": {_said(event.losses)}" if event.losses else ""
    for site, own in event.sites.items():
        if own:
            line += f"; {site}: {_said(own)}"
    return f"{line}; {time_left(event.left)}." if event.left else f"{line}."


def where(event: Event) -> str:
    """``step 120 of 1200, exchange 7``."""
    return f"step {event.step} of {event.steps}, exchange {event.exchange + 1}"


def _said(losses: Mapping[str, float]) -> str:
    """Losses without the name of their update where there is but one."""
    updates = {name.partition(".")[0] for name in losses if "." in name}
    short = {name: name.partition(".")[2] if len(updates) == 1 else name for name in losses}
    if len(losses) > 1 and VALIDATION in short:
        # Networks are judged as a site is told them, before it takes its steps.
        short[VALIDATION] = f"{VALIDATION} before these steps"
    return ", ".join(f"{short[name] or name} {value:.4g}" for name, value in losses.items())


def time_left(seconds: float) -> str:
    """``about 3 min left``."""
    if seconds < 60:
        return "less than a minute left"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min left"
    return f"about {seconds / 3600:.1f} h left"


class Seldom:
    """Picks the events of a training that are worth a line: one a twentieth, and the last ones."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def due(self, event: Event) -> bool:
        """Whether an event of a training is told of."""
        part = event.step * (LINES - 1) // max(1, event.steps)
        known, self._last[event.phase] = self._last.get(event.phase), part
        return known != part or event.step == event.steps

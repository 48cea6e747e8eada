"""How fast a training goes: from the steps of this run, not from those before a stop."""

from __future__ import annotations

import time

from motet.training.phase import Turn


class Pace:
    """A clock that begins when a training does, or when it goes on."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: int | None = None
        self._after = 0

    def take(self, turn: Turn) -> None:
        """An exchange is over."""
        if self._first is None:
            self._first = turn.first
        self._after = turn.after

    def left(self, steps: int) -> float | None:
        """Seconds that the rest of `steps` takes; None where nothing was timed yet."""
        if self._after >= steps:
            return 0.0
        done = self._after - (self._first or 0)
        if not done:
            return None
        return (time.monotonic() - self._began) / done * (steps - self._after)

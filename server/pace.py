"""How fast a training goes: from the exchanges of this run, not from those before a stop."""

from __future__ import annotations

import time

from motet.training.phase import Turn


class Pace:
    """A clock from the first exchange on, in which sites make networks and samples."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None
        self._after = 0

    def take(self, turn: Turn) -> None:
        """An exchange is over."""
        if self._began is None:
            self._began = time.monotonic(), turn.after
        self._after = turn.after

    def left(self, steps: int) -> float | None:
        """Seconds that the rest of `steps` takes; None where nothing was timed yet."""
        if self._after >= steps:
            return 0.0
        if self._began is None or self._after == self._began[1]:
            return None
        seconds = time.monotonic() - self._began[0]
        return seconds / (self._after - self._began[1]) * (steps - self._after)

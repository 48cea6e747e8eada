"""What the listening thread heard, for the loop that waits on the worker as well."""

from __future__ import annotations

import contextlib
import os
from collections import deque

from motet.flower.fleet import Incoming


class Heard:
    """A queue with a bell: a pipe that can be waited on together with the worker's."""

    def __init__(self) -> None:
        self.bell, self._rope = os.pipe()
        os.set_blocking(self.bell, False)
        self._messages: deque[Incoming] = deque()

    def put(self, message: Incoming) -> None:
        """Add a message and ring."""
        self._messages.append(message)
        self.ring()

    def ring(self) -> None:
        """End the wait of the loop."""
        os.write(self._rope, b"!")

    def take(self) -> list[Incoming]:
        """All that was heard since the last time."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.bell, 4096)
        found = []
        while self._messages:
            found.append(self._messages.popleft())
        return found

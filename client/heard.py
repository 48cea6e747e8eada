"""What the listening thread heard, for the loop that waits on the worker as well."""

from __future__ import annotations

import contextlib
import os
from collections import deque

from motet.errors import ConnectionProblem
from motet.flower.fleet import Incoming

Said = Incoming | ConnectionProblem


class Heard:
    """A queue with a bell: a pipe that can be waited on together with the worker's."""

    def __init__(self) -> None:
        self.bell, self._rope = os.pipe()
        os.set_blocking(self.bell, False)
        self._said: deque[Said] = deque()

    def put(self, said: Said) -> None:
        """Add a message, or what is wrong with the connection, and ring."""
        self._said.append(said)
        os.write(self._rope, b"!")

    def take(self) -> list[Said]:
        """All that was heard since the last time."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.bell, 4096)
        found = []
        while self._said:
            found.append(self._said.popleft())
        return found

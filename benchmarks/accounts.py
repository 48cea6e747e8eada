"""Where a loop's time goes: what was called, less what that called in its turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

Calls = Sequence[tuple[str, Any, str]]
"""(purpose, owner, name) of functions of modules and methods of classes."""
ELSE = "all else"


class Accounts:
    """Seconds of a loop by purpose, without those of what is called within.

    A call is told from the next by two readings of the clock, some 0.2 microseconds; a device that
    is not waited for has to be measured otherwise.

    Parameters
    ----------
    calls : sequence of (purpose, owner, name)
        Of a function that returns an iterator every next one is watched, too.

    Attributes
    ----------
    of : dict of str to float
        Purpose -> seconds, together those within :meth:`watching`.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.of = dict.fromkeys([ELSE, *(purpose for purpose, _, _ in calls)], 0.0)
        self._within, self._since = [ELSE], 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep account of what happens within."""
        with ExitStack() as stack:
            for purpose, owner, name in self._calls:
                seen = self._seen(purpose, getattr(owner, name))
                stack.enter_context(mock.patch.object(owner, name, seen))
            self._since = time.perf_counter()
            yield
            self._turn()

    def shares(self) -> dict[str, float]:
        """Of all time, the part of every purpose."""
        return {purpose: spent / sum(self.of.values()) for purpose, spent in self.of.items()}

    def _turn(self) -> None:
        now = time.perf_counter()
        self.of[self._within[-1]] += now - self._since
        self._since = now

    def _seen(self, purpose: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def seen(*args: Any, **kwargs: Any) -> Any:
            self._turn()
            self._within.append(purpose)
            found = call(*args, **kwargs)
            self._turn()
            self._within.pop()
            return self._each(purpose, found) if isinstance(found, Iterator) else found

        return seen

    def _each(self, purpose: str, found: Iterator[Any]) -> Iterator[Any]:
        end = object()
        following = self._seen(purpose, next)
        while (one := following(found, end)) is not end:
            yield one

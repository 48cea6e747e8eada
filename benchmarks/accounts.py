"""Where a loop's time goes: what was called, less what that called in its turn."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

Calls = Sequence[tuple[str, Any, str]]
"""(purpose, owner, name) of functions of modules and methods of classes."""
ELSE = "all else"
"""The purpose of what is not watched."""


class Accounts:
    """Seconds of a loop by purpose, without those of watched calls within.

    A watched call costs a microsecond, nearly all of it charged to the caller. The clock is that of
    the wall: a process' own takes a system call to read. A device that is not waited for has to be
    measured otherwise.

    Parameters
    ----------
    calls : sequence of (purpose, owner, name)
        Of a generator what it does for each of its values.

    Attributes
    ----------
    of : dict of str to float
        Purpose -> seconds, together those within :meth:`watching`.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.of = dict.fromkeys([*(purpose for purpose, _, _ in calls), ELSE], 0.0)
        self._within, self._since = [ELSE], 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep account of what happens within."""
        with ExitStack() as stack:
            for purpose, owner, name in self._calls:
                call = getattr(owner, name)
                watch = self._values if inspect.isgeneratorfunction(call) else self._call
                stack.enter_context(mock.patch.object(owner, name, watch(purpose, call)))
            self._since = time.perf_counter()
            yield
            self._turn()

    def shares(self) -> dict[str, float]:
        """Of all time, the part of every purpose."""
        total = sum(self.of.values())
        return {purpose: spent / total for purpose, spent in self.of.items()}

    def _turn(self) -> None:
        now = time.perf_counter()
        self.of[self._within[-1]] += now - self._since
        self._since = now

    def _call(self, purpose: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def seen(*args: Any, **kwargs: Any) -> Any:
            self._turn()
            self._within.append(purpose)
            try:
                return call(*args, **kwargs)
            finally:
                self._turn()
                self._within.pop()

        return seen

    def _values(self, purpose: str, call: Callable[..., Any]) -> Callable[..., Any]:
        following = self._call(purpose, next)

        def seen(*args: Any, **kwargs: Any) -> Iterator[Any]:
            end, values = object(), call(*args, **kwargs)
            while (one := following(values, end)) is not end:
                yield one

        return seen

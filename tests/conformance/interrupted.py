"""A process that dies in the middle of a study, and what has to be the same when it goes on."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from motet.server import Outcome


class Killed(BaseException):
    """Not an Exception: no handler may catch it, as none can catch a power cut."""


def interrupt(patch: pytest.MonkeyPatch, owner: type, method: str, *, call: int, when: str) -> None:
    """Let the process die before or after the n-th call of a method."""
    honest, calls = getattr(owner, method), itertools.count(1)

    def dying(self: Any, *args: Any, **keywords: Any) -> Any:
        mine = next(calls)
        if mine > call or (mine == call and when == "before"):
            raise Killed  # and what is dead does nothing more
        result = honest(self, *args, **keywords)
        if mine == call:
            raise Killed
        return result

    patch.setattr(owner, method, dying)


def same(a: Outcome, b: Outcome) -> None:
    assert sorted(a.shared) == sorted(b.shared)
    for name, array in a.shared.items():
        other = np.asarray(b.shared[name])
        assert (array.dtype, array.shape) == (other.dtype, other.shape), name
        assert array.tobytes() == other.tobytes(), name

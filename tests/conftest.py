"""What all tests share: hypothesis that is repeatable, keeps no files, and has no clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "motet",
    deadline=None,
    max_examples=25,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("motet")


def leave_undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give matplotlib's figures as empty SVGs: drawing takes most of the time of a page."""
    from matplotlib.figure import Figure

    def empty(figure: Figure, stream: Any, **_: object) -> None:
        stream.write('<svg viewBox="0 0 1 1"></svg>')

    monkeypatch.setattr(Figure, "savefig", empty)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of a page's words; those of its figures draw them."""
    leave_undrawn(monkeypatch)

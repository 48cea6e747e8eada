"""What all tests share: hypothesis that is repeatable, keeps no files, and has no clock."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from motet.ledger import Ledger

settings.register_profile(
    "motet",
    deadline=None,
    max_examples=25,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("motet")


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Do not wait for the disk at entries of ledgers: that takes much of a small study's time.

    Tests end processes, not machines: what a process wrote is there for the next one.
    """

    def opened(ledger: Ledger) -> sqlite3.Connection:
        book = synced(ledger)
        book.execute("PRAGMA synchronous = OFF")
        return book

    with pytest.MonkeyPatch.context() as patch:
        synced = Ledger._open
        patch.setattr(Ledger, "_open", opened)
        yield


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

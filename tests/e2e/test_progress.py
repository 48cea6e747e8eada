"""What a run says while it goes on."""

from __future__ import annotations

import pytest

from motet.cli.show import sentence
from motet.server.events import Event, Kind
from motet.version import __version__


def test_other_version_is_said_with_both() -> None:
    """Catches 'another version', from which nobody knows what to install where."""
    said = sentence(Event(kind=Kind.VERSION, site="hh", code="7.0.1"))
    assert said == f"Site hh has Motet 7.0.1; the coordinator has {__version__}."


@pytest.mark.parametrize("kind", list(Kind))
def test_every_event_is_said_or_counted(kind: Kind) -> None:
    """Catches a kind of event that is added and that nobody hears of."""
    counted = {Kind.DONE}  # moves the bar
    assert bool(sentence(Event(kind=kind, phase="p", site="s", code="c"))) == (kind not in counted)

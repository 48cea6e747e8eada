"""A site that was silent too long and is back joins the next attempt."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flwr.app import Message
from flwr.serverapp import Grid

from conformance.cases import case
from conformance.federation import Federation
from motet.server import Outcome, coordinator
from motet.server.events import Kind
from motet.server.exchange import Exchange

STUDY = case(n=(9, 12, 8, 10), p=4)


def run(federation: Federation) -> Outcome:
    """Run it as a deployed study is: a message can be lost."""

    def exchange(grid: Grid) -> Exchange:
        return Exchange(grid, run="r/1", timeout=0.7, ping=30.0, observe=federation.events.append)

    return federation.run(exchange=exchange)


@pytest.mark.parametrize("silences", [1, 2])
def test_site_that_is_back_joins_the_next_attempt(
    silences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a site that is left out though it is there again, and one that is waited for again
    and again."""
    monkeypatch.setattr(coordinator, "COMEBACKS", 1)
    released = threading.Event()
    quiet: list[int] = []

    def now_and_then(request: Message, answer: Any) -> Message:
        if request.metadata.message_type == "train.phase" and len(quiet) < silences:
            quiet.append(1)
            released.wait(60)
        return answer()

    federation = Federation(STUDY, alter={"site-b2": now_and_then})
    try:
        outcome = run(federation)
    finally:
        released.set()
    told = [(e.kind, e.site) for e in federation.events if e.kind in (Kind.LOST, Kind.BACK)]
    if silences == 1:
        assert outcome.missing == {}
        assert told == [(Kind.LOST, "site-b2"), (Kind.BACK, "site-b2")]
        whole = Federation(STUDY).run()
        for name, array in whole.shared.items():
            assert outcome.shared[name].tobytes() == array.tobytes(), name
    else:
        assert outcome.missing == {"site-b2": "timeout"}
        assert told.count((Kind.BACK, "site-b2")) == 1
        assert "site-b2" not in outcome.plan.schema.sites

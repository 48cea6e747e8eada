"""A site that was silent too long and is back joins the next attempt."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from flwr.serverapp import Grid

from conformance.cases import case
from conformance.federation import Federation
from conformance.interrupted import same
from motet.flower.records import decode
from motet.server import Outcome, coordinator, runner
from motet.server.events import Kind
from motet.server.exchange import Exchange

STUDY = case(n=(9, 12, 8, 10), p=4)


def run(federation: Federation, timeout: float = 0.7, **options: Any) -> Outcome:
    """Run it as a deployed study is: a message can be lost."""

    def exchange(grid: Grid) -> Exchange:
        return Exchange(
            grid, run="r/1", timeout=timeout, ping=30.0, observe=federation.events.append
        )

    return federation.run(exchange=exchange, **options)


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


@pytest.mark.parametrize("moments", ["averaged", "kept"])
def test_a_training_goes_on_where_it_was_when_a_site_is_back(
    moments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an hour of exchanges that is done again because a hospital was silent for minutes."""
    monkeypatch.setattr(runner, "EVERY", 0.0)
    train = {"preset": "tiny", "mode": "local", "steps": 12, "moments": moments}
    study = replace(case("deepcombat", n=(9, 12), p=4, covariates=("age",)), train=train)
    released = threading.Event()
    quiet: list[int] = []

    def once(request: Message, answer: Any) -> Message:
        if decode(request.content)[0].phase == "cvae@2" and not quiet:
            quiet.append(1)
            released.wait(60)
        return answer()

    expected = Federation(study).run()  # which imports torch: the next run has a clock
    federation = Federation(study, folder=tmp_path, alter={"site-b1": once})
    try:
        outcome = run(federation, timeout=3.0, checkpoint=tmp_path / "progress.npz")
    finally:
        released.set()
    assert not outcome.missing
    same(outcome, expected)
    asked = Counter(path for site, path in federation.asked("train.phase") if site == "site-b0")
    assert [asked[f"cvae@{k}"] for k in range(4)] == [1, 1, 2, 1]
    kinds = [event.kind for event in federation.events]
    assert kinds.index(Kind.BACK) < kinds.index(Kind.RESUMED)

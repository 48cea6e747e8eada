"""A round over a transport that loses things: asked again, sent again, never done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from flwr.app import Error, Message, RecordDict

from motet.flower.inprocess import InProcessGrid
from motet.flower.parcels import parcel, unparcel
from motet.flower.records import Body, Envelope, decode, encode, refusal
from motet.server.events import Event, Kind
from motet.server.exchange import Exchange
from motet.server.round import Round

PING = 0.05


@pytest.fixture(autouse=True)
def identity() -> None:
    """Flower makes messages only in a process that knows its run; the grid sees to that."""
    InProcessGrid({}).close()


Site = Callable[[str, Envelope, Body], RecordDict | Error | None]


@dataclass
class Wire:
    """A grid over functions: ``(action, envelope, body) -> reply, error, or silence``."""

    sites: dict[int, Site]
    log: list[tuple[int, str, int]] = field(default_factory=list)
    lifetimes: list[float] = field(default_factory=list)
    replies: dict[str, Message] = field(default_factory=dict)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.sites)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        identifiers = []
        for message in messages:
            identifier = uuid4().hex
            identifiers.append(identifier)
            message.metadata.__dict__["_message_id"] = identifier
            node, action = message.metadata.dst_node_id, message.metadata.message_type
            envelope, body = decode(message.content)
            self.log.append((node, action, envelope.attempt))
            self.lifetimes.append(message.metadata.ttl)
            said = self.sites[node](action, envelope, body)
            if said is not None:
                self.replies[identifier] = Message(said, reply_to=message)
        return identifiers

    def pull_messages(self, identifiers: Iterable[str]) -> list[Message]:
        return [self.replies.pop(i) for i in identifiers if i in self.replies]


def state(envelope: Envelope, word: str) -> RecordDict:
    return encode(envelope, Body(document={"state": word}))


def done(envelope: Envelope) -> RecordDict:
    return encode(envelope, Body(arrays={"x": np.ones(1)}))


def one_round(wire: Wire, *, timeout: float = 3.0, events: list[Event] | None = None) -> Any:
    return Round(
        wire,  # type: ignore[arg-type]
        action="train.phase",
        nodes={f"site{node}": node for node in wire.sites},
        envelope=Envelope(run="r", plan="p", phase="f", round=4),
        body=Body(document={"a": 1}),
        check=None,
        timeout=timeout,
        ping=PING,
        observe=(events if events is not None else []).append,
    ).run()


def forgets(times: int) -> Site:
    """A site that loses a request `times` times, then answers."""
    lost = []

    def site(action: str, envelope: Envelope, body: Body) -> RecordDict | None:
        if action == "query.ping":
            return state(envelope, "unknown")
        lost.append(1)
        return done(envelope) if len(lost) > times else None

    return site


def test_lost_request_is_sent_again() -> None:
    """Catches a site that was restarted and waits for a message that nobody sends again."""
    wire = Wire({1: forgets(2), 2: forgets(0)})
    replies = one_round(wire)
    assert (set(replies.accepted), replies.failed) == ({"site1", "site2"}, {})
    attempts = [a for node, action, a in wire.log if node == 1 and action == "train.phase"]
    assert attempts == [1, 2, 3]
    assert [a for node, action, a in wire.log if node == 2 and action == "train.phase"] == [1]


def test_messages_live_as_long_as_the_round() -> None:
    """Catches a straggler that serves a queue of rounds for which nobody waits: what is sent again
    lives for what is left of the round, a question until the next."""
    wire = Wire({1: forgets(1)})
    one_round(wire, timeout=3.0)
    first, question, again = wire.lifetimes
    assert (first, question) == (3.0, PING)
    assert 2.0 < again < 3.0


def test_one_question_after_an_outage() -> None:
    """Catches questions that are made up for when an outage is over: each takes the place of the
    one before, whose answers are dropped."""
    wire = Wire({1: forgets(1)})
    honest, looks = wire.pull_messages, []

    def stalled(identifiers: Iterable[str]) -> list[Message]:
        looks.append(1)
        if len(looks) == 1:
            time.sleep(10 * PING)
        return honest(identifiers) if len(looks) % 3 == 0 else []

    wire.pull_messages = stalled  # type: ignore[method-assign]
    assert not one_round(wire).failed
    questions = [action for _, action, _ in wire.log if action == "query.ping"]
    assert len(questions) == 1


def test_working_site_is_not_asked_twice() -> None:
    """Catches a long phase that is begun again with every question."""
    asked = []

    def slow(action: str, envelope: Envelope, body: Body) -> RecordDict | None:
        asked.append(action)
        if action == "query.ping":
            return state(envelope, "working")
        return None

    replies = one_round(Wire({1: slow}), timeout=0.4)
    assert replies.failed == {"site1": "timeout"}
    assert asked.count("train.phase") == 1
    assert asked.count("query.ping") >= 3


def test_flowers_error_is_waited_out() -> None:
    """Catches a site that is given up when Flower says its node is away, though it comes back."""
    asked = []

    def away(action: str, envelope: Envelope, body: Body) -> RecordDict | Error | None:
        asked.append(action)
        if action == "query.ping":
            return state(envelope, "unknown") if len(asked) > 4 else Error(5, "Node Unavailable")
        return done(envelope) if len(asked) > 4 else Error(5, "Node Unavailable")

    replies = one_round(Wire({1: away}))
    assert set(replies.accepted) == {"site1"}


def test_silence_is_told_once_and_so_is_the_return() -> None:
    """Catches a coordinator that waits without a word, or says it with every question."""
    events: list[Event] = []
    asked = []

    def quiet(action: str, envelope: Envelope, body: Body) -> RecordDict | None:
        asked.append(action)
        if len(asked) < 8:
            return None
        return state(envelope, "unknown") if action == "query.ping" else done(envelope)

    one_round(Wire({1: quiet}), events=events)
    assert [(e.kind, e.site) for e in events] == [(Kind.SILENT, "site1"), (Kind.BACK, "site1")]


def test_refusal_is_no_silence() -> None:
    """Catches a site that says no and is asked until the time is up."""
    wire = Wire({1: lambda action, envelope, body: refusal(envelope, "bundle")})
    replies = one_round(wire)
    assert replies.failed == {"site1": "bundle"}
    assert len(wire.log) == 1


def test_refused_question_is_a_refusal() -> None:
    """Catches a site that refuses a run, whose first refusal was lost, and that is waited for."""

    def site(action: str, envelope: Envelope, body: Body) -> RecordDict | None:
        return refusal(envelope, "bundle") if action == "query.ping" else None

    assert one_round(Wire({1: site})).failed == {"site1": "bundle"}


def test_parcels_are_opened() -> None:
    """Catches a reply in one piece that is taken for none, and a parcel of garbage that raises."""
    whole = Wire({1: lambda action, envelope, body: parcel(done(envelope))})
    assert set(one_round(whole).accepted) == {"site1"}
    bad = encode(Envelope(run="r"), Body())
    broken = parcel(bad)
    broken["parcel"]["head"] = b"{"
    assert one_round(Wire({1: lambda *asked: broken})).failed == {"site1": "protocol"}
    large = encode(Envelope(run="r"), Body(arrays={"x": np.zeros(200_000)}))
    assert parcel(large) is large
    assert unparcel(large) is large


def hello(name: str, version: str = "0.1.0") -> Site:
    def site(action: str, envelope: Envelope, body: Body) -> RecordDict:
        return encode(envelope, Body(document={"site": name, "motet": version}))

    return site


def exchange(wire: Wire, expected: dict[int, str], events: list[Event]) -> Exchange:
    return Exchange(
        wire,  # type: ignore[arg-type]
        run="r/1",
        timeout=2.0,
        expected=expected,
        wait=0.1,
        ping=PING,
        observe=events.append,
    )


def test_a_node_is_the_site_whose_key_it_has() -> None:
    """Catches a hospital that speaks in another's name, and a node that nobody enrolled."""
    wire = Wire({1: hello("ash"), 2: hello("ash"), 3: hello("cedar"), 9: hello("dune")})
    events: list[Event] = []
    replies = exchange(wire, {1: "ash", 2: "birch", 3: "cedar", 4: "elm"}, events).hello()
    assert set(replies.accepted) == {"ash", "cedar"}
    assert replies.failed == {"birch": "site-name", "elm": "not-connected"}
    assert 9 not in [node for node, *_ in wire.log]
    assert [(e.kind, e.site, e.code) for e in events] == [(Kind.SILENT, "elm", "not-connected")]


def test_other_versions_are_told_by_name() -> None:
    """Catches a mismatch that is a code only: both versions are needed to mend it."""

    def refuses(action: str, envelope: Envelope, body: Body) -> RecordDict:
        return refusal(envelope, "version", Body(document={"site": "birch", "motet": "0.0.9"}))

    def lies(action: str, envelope: Envelope, body: Body) -> RecordDict:
        return refusal(envelope, "version", Body(document={"motet": "Jane Doe, born 1970"}))

    wire = Wire({1: hello("ash", "9.9.9"), 2: refuses, 3: lies})
    events: list[Event] = []
    replies = exchange(wire, {1: "ash", 2: "birch", 3: "cedar"}, events).hello()
    told = [(e.site, e.code) for e in events if e.kind is Kind.VERSION]
    assert told == [("ash", "9.9.9"), ("birch", "0.0.9")]
    assert replies.failed["birch"] == "version"

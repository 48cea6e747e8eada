"""The site's network process with a made-up coordinator and worker."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict

from motet.client import stock
from motet.client.home import SiteHome
from motet.client.node import TRIES, Node
from motet.client.outbox import KEPT, Outbox
from motet.errors import ConnectionFailedError, WorkerDiedError
from motet.flower.bundle import PYPROJECT, bundle, bundled, digest, version_of
from motet.flower.fleet import Incoming, RunEndedError
from motet.flower.inprocess import InProcessGrid
from motet.flower.parcels import parcel
from motet.flower.records import Body, Envelope, decode, encode
from motet.version import __version__


class FakeFleet:
    """Messages that wait, and the replies that were sent."""

    def __init__(self) -> None:
        self.waiting: list[Incoming] = []
        self.sent: list[tuple[Envelope, Body]] = []
        self.apps = {1: bundle()}
        self.hashes = {1: digest()}

    def send(
        self, action: str, number: int = 1, *, run: int = 1, ttl: float = 60.0, attempt: int = 1
    ) -> None:
        envelope = Envelope(run="s/1", plan="p", phase="f", round=number, attempt=attempt)
        content = encode(envelope, Body() if action == "query.ping" else Body(document=number))
        message = Message(content, 1, action, ttl=ttl)
        message.metadata.__dict__["_run_id"] = run
        self.waiting.append(Incoming(message))

    def receive(self) -> Incoming | None:
        return self.waiting.pop(0) if self.waiting else None

    def reply(self, to: Incoming, content: RecordDict) -> None:
        self.sent.append(decode(content))

    def bundle_of(self, run: int) -> str:
        return self.hashes[run]

    def bundle(self, run: int, hashed: str) -> bytes:
        return self.apps[run]


class FakeHand:
    """A worker that answers when told to, or dies."""

    pid = 7

    def __init__(self) -> None:
        self.asked: list[tuple[str, RecordDict]] = []
        self.answers = False
        self.dies = 0
        self.kills = 0
        self.starts = 0

    def start(self) -> None:
        self.starts += 1

    def ask(self, action: str, content: RecordDict) -> None:
        self.asked.append((action, content))

    def reply(self) -> RecordDict | None:
        if self.dies:
            self.dies -= 1
            raise WorkerDiedError("gone")
        if not self.answers:
            return None
        envelope, body = decode(self.asked[-1][1])
        return encode(envelope, Body(document={"answer": body.document}))

    def kill(self) -> None:
        self.kills += 1


class Bench:
    """A node at work, a turn at a time."""

    def __init__(self, folder: Path) -> None:
        InProcessGrid({}).close()
        (folder / "site.yaml").write_text("name: ash\ndata: .\ncoordinator: localhost:1\n")
        self.home = SiteHome(folder)
        self.fleet, self.hand = FakeFleet(), FakeHand()
        self.node = self.new()

    def new(self) -> Node:
        """A node as after a restart: what is on the disk is there, all else is gone."""
        node = Node(self.home)
        made: Any = node
        made._fleet, made._hand = self.fleet, self.hand
        return node

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.node._work()
            while (incoming := self.fleet.receive()) is not None:
                self.node._take(incoming)
            self.node._work()

    def states(self) -> list[str]:
        return [b.document["state"] for _, b in self.fleet.sent if "state" in (b.document or {})]

    def answers(self) -> list[tuple[int, Any]]:
        return [
            (e.attempt, b.document["answer"])
            for e, b in self.fleet.sent
            if isinstance(b.document, dict) and "answer" in b.document
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_questions_are_answered_while_the_worker_works(bench: Bench) -> None:
    """Catches a node that is deaf while it works: it would look dead, and be sent all again."""
    bench.fleet.send("query.ping")
    bench.turn()
    bench.fleet.send("train.phase", 1)
    bench.fleet.send("train.phase", 2)
    bench.fleet.send("query.ping", 1)
    bench.fleet.send("query.ping", 2)
    bench.turn()
    assert bench.states() == ["unknown", "queued", "queued"]
    bench.fleet.send("query.ping", 1)
    bench.turn()
    assert bench.states()[3:] == ["working"]
    assert len(bench.hand.asked) == 1


def test_request_that_comes_twice_is_done_once(bench: Bench) -> None:
    """Catches work that is done again, while it goes on or after it was done."""
    bench.fleet.send("train.phase", 1)
    bench.turn()
    bench.fleet.send("train.phase", 1, attempt=2)
    bench.turn()
    bench.hand.answers = True
    bench.turn()
    bench.fleet.send("train.phase", 1, attempt=3)
    bench.turn()
    assert len(bench.hand.asked) == 1
    assert [answer for _, answer in bench.answers()] == [1, 1]


def test_reply_is_sent_again_after_a_restart(bench: Bench) -> None:
    """Catches a release that is computed anew since the node, not the worker, was killed."""
    bench.fleet.send("train.phase", 5)
    bench.hand.answers = True
    bench.turn(2)
    bench.node = bench.new()
    bench.fleet.send("train.phase", 5, attempt=2)
    bench.turn()
    assert len(bench.hand.asked) == 1
    assert [answer for _, answer in bench.answers()] == [5, 5]


def test_outbox_keeps_the_last_two(tmp_path: Path) -> None:
    """Catches a folder of sums that grows for ever."""
    InProcessGrid({}).close()
    box = Outbox(tmp_path)
    for number in range(5):
        box.put(("r", number), encode(Envelope(run="r", round=number), Body(document=number)))
    assert len(list(tmp_path.iterdir())) == KEPT
    assert box.get(("r", 2)) is None
    kept = box.get(("r", 4))
    assert kept is not None
    assert decode(kept)[1].document == 4


def test_dead_worker_is_replaced_then_given_up(bench: Bench) -> None:
    """Catches a site that hangs when its worker is killed, or starts it for ever on bad data."""
    bench.fleet.send("train.phase", 1)
    bench.turn()
    bench.hand.dies = 1
    bench.turn()
    assert len(bench.hand.asked) == 2
    bench.hand.answers = True
    bench.turn()
    assert [answer for _, answer in bench.answers()] == [1]
    bench.hand.answers = False
    bench.fleet.send("train.phase", 2)
    bench.turn()
    bench.hand.dies = TRIES
    bench.turn(TRIES)
    assert bench.fleet.sent[-1][0].status == "worker-died"


def test_awaited_worker_is_not_replaced_unseen(bench: Bench) -> None:
    """Catches a worker that dies while the connection is down: a new one in its place, started when
    the connection is back, has nothing to reply, and the request hangs until its time is up."""
    bench.fleet.send("train.phase", 1)
    bench.turn()
    bench.node._ready()
    assert bench.hand.starts == 0
    bench.hand.answers = True
    bench.turn()
    bench.node._ready()
    assert bench.hand.starts == 1


def test_worker_is_ended_when_nobody_waits(bench: Bench) -> None:
    """Catches a phase that goes on after the coordinator gave the site up, and blocks the next."""
    bench.fleet.send("train.phase", 1, ttl=0.05)
    bench.turn()
    time.sleep(0.06)
    bench.turn()
    assert bench.hand.kills == 1
    bench.fleet.send("train.phase", 2)
    bench.turn()
    assert len(bench.hand.asked) == 2


@pytest.mark.parametrize(
    ("pyproject", "code"),
    [
        (PYPROJECT.replace("motet.server", "evil.server"), "bundle"),
        (PYPROJECT.replace("The code is", "Code is"), "bundle"),
        (PYPROJECT.replace(f'version = "{__version__}"', 'version = "7.0.1"'), "version"),
        (PYPROJECT.replace("motet-study", "other-app"), "bundle"),
    ],
)
def test_bundle_that_is_not_ours_is_refused(
    pyproject: str, code: str, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches a run whose app is not the one that this package makes: nothing of it may start."""
    other = bundled(pyproject.replace("the code is", "code is"))
    bench.fleet.apps[2], bench.fleet.hashes[2] = other, "0" * 64
    bench.fleet.send("query.hello", run=2)
    bench.fleet.send("query.ping", run=2)
    bench.turn()
    assert bench.hand.asked == []
    assert [e.status for e, _ in bench.fleet.sent] == [code, code]
    assert bench.fleet.sent[0][1].document == {"site": "ash", "motet": __version__}
    if code == "version":
        assert f"the coordinator has Motet 7.0.1, this site {__version__}" in caplog.text


def test_bundle_that_is_allowed_by_its_hash(bench: Bench) -> None:
    """Catches an allow-list that is read and not used."""
    settings = bench.home.path / "site.yaml"
    settings.write_text(settings.read_text() + f"bundles: ['{'1' * 64}']\n")
    bench.node = bench.new()
    bench.fleet.apps[3], bench.fleet.hashes[3] = b"", "1" * 64
    bench.fleet.send("query.agree", run=3)
    bench.turn()
    assert [action for action, _ in bench.hand.asked] == ["query.agree"]


def test_coordinator_in_trouble_is_not_hurried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a site that dials twice a second, for ever, where it is let in and then refused."""
    pauses: list[float] = []

    def refused() -> None:
        raise ConnectionFailedError("503")

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        bench.node._over = len(pauses) == 6

    monkeypatch.setattr(bench.node, "_connect", lambda: None)
    monkeypatch.setattr(bench.node, "_serve", refused)
    monkeypatch.setattr(bench.node, "_pause", pause)
    monkeypatch.setattr(bench.node, "_goodbye", lambda: None)
    monkeypatch.setattr("motet.client.node.signal.signal", lambda number, handler: None)
    bench.node.run()
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_run_that_is_over_is_no_trouble(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches a node that ends when Flower says that the run of a message is finished."""

    def ended(run: int) -> str:
        raise RunEndedError

    monkeypatch.setattr(bench.fleet, "bundle_of", ended)
    bench.fleet.send("train.phase", run=9)
    bench.turn()
    assert bench.fleet.sent == []
    assert bench.hand.asked == []


def test_envelope_of_other_types_is_dropped(bench: Bench) -> None:
    """Catches a round that is no number, which could be no key of a stored reply."""
    bench.fleet.send("train.phase")
    envelope = bench.fleet.waiting[0].message.content["envelope"]
    envelope["round"] = b"1"
    bench.turn()
    assert (bench.fleet.sent, bench.hand.asked) == ([], [])


def test_stock_node_says_that_it_is_one() -> None:
    """Catches an app that raises under Flower's own node, which sends the text of exceptions."""
    InProcessGrid({}).close()
    context = Context(
        run_id=1, node_id=1, node_config={"site": "x"}, state=RecordDict(), run_config={}
    )
    for action, status in (
        ("query.hello", "ok"),
        ("query.agree", "stock-node"),
        ("train.phase", "stock-node"),
    ):
        message = Message(parcel(encode(Envelope(run="r"), Body())), 1, action)
        message.metadata.__dict__["_message_id"] = "m"
        envelope, _ = decode(stock.app(message, context).content)
        assert envelope.status == status


def test_bundle_holds_no_code_and_is_always_the_same() -> None:
    """Catches code in the bundle, and bytes that depend on the day or the machine."""
    with zipfile.ZipFile(io.BytesIO(bundle())) as archive:
        assert sorted(archive.namelist()) == [".info/CONTENT", "pyproject.toml"]
    assert bundled(PYPROJECT) == bundle()
    assert len(bundle()) < 2000
    assert version_of(bundle()) == __version__


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04garbage", bundle()[:200]])
def test_bundle_of_garbage_has_no_version(content: bytes) -> None:
    """Catches an exception from a bundle that a stranger made."""
    assert version_of(content) == ""

"""A site's network process: holds the key, takes messages, sends replies. It sees no data.

``python -m motet.client.node HOME`` dials out to the coordinator and to nobody else. What comes is
handed to the worker process; while that works, questions about its progress are answered at once.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any

from motet.client.hand import Hand
from motet.client.heard import Heard
from motet.client.home import SiteHome
from motet.client.outbox import Outbox
from motet.errors import ConnectionFailedError, ProtocolError, WorkerDiedError
from motet.flower.bundle import digest, version_of
from motet.flower.fleet import Fleet, Incoming, RunEndedError, look
from motet.flower.records import Body, Envelope, encode, envelope_of, refusal
from motet.store import noted, write_json
from motet.supervise import claimed, die_with_parent, log_to
from motet.version import __version__

log = logging.getLogger("motet.node")

SHORT = 1.0
"""Seconds: a request for messages that was answered sooner was not held by a front."""
POLL, IDLE, WARM = 0.1, 1.0, 60.0
"""Without a front: seconds between looks, at first and when nothing has come for a minute."""
SOON, AGAIN = 0.5, 3.0
"""Seconds before a coordinator that cannot be reached is tried again: at first, and at most."""
TRIES = 3
"""Times a message is given to a new worker when the one before died of it."""

Key = tuple[str, str, str, int, str]


@dataclass(kw_only=True)
class Job:
    """A request that waits for the worker, or is worked on."""

    key: Key
    envelope: Envelope
    incoming: Incoming
    tries: int = 0


class Node:
    """Serves one site.

    Parameters
    ----------
    home : SiteHome
    """

    def __init__(self, home: SiteHome) -> None:
        self._home, self._settings = home, home.settings
        self._hand, self._outbox = Hand(home), Outbox(home.outbox)
        self._fleet: Fleet | None = None
        self._over = False
        self._job: Job | None = None
        self._queue: deque[Job] = deque()
        self._refused: dict[int, str] = {}
        self._heard = Heard()
        self._said: dict[str, Any] = {}

    def run(self) -> None:
        """Serve until told to end; problems of the connection are said, and waited out."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        try:
            patience = SOON
            while not self._over:
                began = time.monotonic()
                try:
                    self._connect()
                    self._serve()
                except ConnectionFailedError as problem:
                    self._say(str(problem))
                    if time.monotonic() - began > AGAIN:  # it was well before
                        patience = SOON
                    self._pause(patience)
                    patience = min(2 * patience, AGAIN)
        finally:
            self._goodbye()

    def _connect(self) -> None:
        if self._fleet is not None:
            self._fleet.close()
        certificate = self._home.certificate.read_bytes()
        look(self._settings.coordinator, certificate)
        fleet = self._fleet = Fleet(self._settings.coordinator, certificate, self._home.key())
        here, left = self._here(), noted(self._home.session)
        if left.get("node_id") and left.get("at") == here:
            # The process before this one was killed, or the coordinator is back after an outage.
            # It still counts as connected: say goodbye for it. A copy of the key on another
            # machine has no such record, and is refused.
            try:
                fleet.deactivate(int(left["node_id"]))
            except (ConnectionFailedError, RunEndedError) as problem:
                log.info("no goodbye for the process before this one: %s", problem)
        write_json(self._home.session, {"node_id": fleet.activate(), "at": here})

    def _serve(self) -> None:
        """Take messages and fetch replies, whichever comes first, until the connection fails."""
        self._ready()
        assert self._fleet is not None
        listening = self._listening(self._fleet)
        while not self._over:
            self._work()
            # A reply, a message, or the listener's end ends the wait; a second is for what expires.
            wait([self._heard.bell, *self._hand.bells()], timeout=1.0)
            for message in self._heard.take():
                self._take(message)
            if listening.done():
                listening.result()  # raises what ended it: trouble of the connection is waited out

    def _ready(self) -> None:
        """Have a worker ready, unless a reply is awaited of one.

        What became of that one shows in its pipe; a new one in its place would never reply.
        """
        if self._job is None:
            self._hand.start()
        self._say()

    def _listening(self, fleet: Fleet) -> Future[None]:
        """Listen in a thread that nobody has to wait for; what ends it is in the future.

        A connection that was given up may end much later, in a request that is held. Then nobody
        asks its future any more; a message that it still brings is as good as any.
        """
        ended: Future[None] = Future()

        def listen() -> None:
            try:
                self._listen(fleet)
                ended.set_result(None)
            except Exception as error:  # noqa: BLE001 - raised again by the loop, as from a pool
                ended.set_exception(error)
            self._heard.ring()

        threading.Thread(target=listen, daemon=True).start()
        return ended

    def _listen(self, fleet: Fleet) -> None:
        """Ask for messages for ever. The front holds a request; where none does, pause."""
        quiet = 0.0
        while not self._over and fleet is self._fleet:
            began = time.monotonic()
            try:
                incoming = fleet.receive()
            except RunEndedError:
                incoming = None
            if incoming is not None:
                self._heard.put(incoming)
                quiet = 0.0
            elif (held := time.monotonic() - began) < SHORT:
                quiet += held + POLL
                time.sleep(POLL if quiet < WARM else IDLE)

    def _take(self, incoming: Incoming) -> None:
        """Take one message; one that makes no sense, or whose run is over, is dropped."""
        try:
            self._sort(incoming, *envelope_of(incoming.content))
        except RunEndedError:
            log.info("a message came of a run that is over")
        except ProtocolError as error:
            log.warning("a message was dropped: %s", error)

    def _sort(self, incoming: Incoming, envelope: Envelope, sha256: str) -> None:
        """Refuse, answer, send again, or put into the queue."""
        key = (envelope.run, envelope.plan, envelope.phase, envelope.round, sha256)
        about = Body(document={"site": self._settings.name, "motet": __version__})
        if code := self._refusal(incoming):
            self._reply(incoming, refusal(envelope, code, about))
        elif incoming.action == "query.hello":
            self._reply(incoming, encode(envelope, about))
        elif incoming.action == "query.ping":
            state = {"state": self._state(key)}
            self._reply(incoming, encode(envelope, Body(document=state)))
        elif (stored := self._outbox.get(key)) is not None:
            log.info("round %s of %s was done before: the reply is sent again", *key[3:1:-1])
            self._reply(incoming, stored)
        elif self._state(key) == "unknown":
            self._queue.append(Job(key=key, envelope=envelope, incoming=incoming))

    def _state(self, key: Key) -> str:
        """What became of a request; its hash is not compared, a question does not know it."""
        asked = key[:4]
        if self._job is not None and self._job.key[:4] == asked:
            return "working"
        return "queued" if any(job.key[:4] == asked for job in self._queue) else "unknown"

    def _work(self) -> None:
        """Fetch a reply, and give the worker what is next."""
        job = self._job
        if job is not None:
            try:
                reply = self._hand.reply()
            except WorkerDiedError:
                self._died(job)
                return
            if reply is not None:
                self._outbox.put(job.key, reply)
                self._job = None
                self._say()
                self._reply(job.incoming, reply)
            elif job.incoming.expired:
                log.warning("nobody waits for '%s' any more: the worker is ended", job.key[2])
                self._hand.kill()
                self._job = None
        while self._job is None and self._queue:
            job = self._queue.popleft()
            if not job.incoming.expired:
                self._begin(job)

    def _begin(self, job: Job) -> None:
        try:
            self._hand.ask(job.incoming.action, job.incoming.content)
        except ProtocolError as error:
            self._reply(job.incoming, refusal(job.envelope, error.code))
            return
        self._job = job
        self._say()

    def _died(self, job: Job) -> None:
        job.tries += 1
        log.warning("the worker ended while it worked on '%s' (%d)", job.key[2], job.tries)
        self._hand.kill()
        self._job = None
        if job.tries < TRIES:
            self._begin(job)
        else:
            self._reply(job.incoming, refusal(job.envelope, WorkerDiedError.code))

    def _reply(self, to: Incoming, content: Any) -> None:
        assert self._fleet is not None
        self._fleet.reply(to, content)

    def _refusal(self, incoming: Incoming) -> str:
        """The code for which a run's messages are refused; empty where its app is allowed."""
        assert self._fleet is not None
        if incoming.run not in self._refused:
            found = self._fleet.bundle_of(incoming.run)
            code = ""
            if found != digest() and found not in self._settings.bundles:
                theirs = version_of(self._fleet.bundle(incoming.run, found))
                code = "version" if theirs not in ("", __version__) else "bundle"
                log.error(
                    "run %s is refused: the coordinator has Motet %s, this site %s"
                    if code == "version"
                    else "run %s is refused: its app (version %s; here %s) is not this package's",
                    incoming.run,
                    theirs or "unknown",
                    __version__,
                )
            self._refused[incoming.run] = code
        return self._refused[incoming.run]

    def _say(self, trouble: str = "") -> None:
        """Write what the site does into its status file, and into its log when that changes."""
        envelope = self._job.envelope if self._job is not None else Envelope(run="")
        state = "waiting" if trouble else "working" if self._job is not None else "connected"
        said = {
            "site": self._settings.name,
            "coordinator": self._settings.coordinator,
            "state": state,
            "sentence": trouble,
            "study": envelope.run,
            "phase": envelope.phase,
            "worker": self._hand.pid,
            "motet": __version__,
        }
        if said == self._said:
            return
        if trouble:
            log.warning("%s", trouble)
        elif state != self._said.get("state"):
            log.info("%s %s %s", state, envelope.run, envelope.phase)
        self._said = said
        write_json(self._home.status, said)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._over and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _here(self) -> str:
        """Machine and folder: a copy of the folder is another place."""
        return f"{socket.gethostname()}:{self._home.path.resolve()}"

    def _goodbye(self) -> None:
        self._hand.kill()
        if self._fleet is not None:
            try:
                self._fleet.deactivate()
                self._home.session.unlink(missing_ok=True)
            except (ConnectionFailedError, RunEndedError):
                log.info("the coordinator was not there for a goodbye")
            self._fleet.close()
        self._home.status.unlink(missing_ok=True)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._over = True


def main() -> None:
    """Serve the site whose folder is named."""
    die_with_parent()
    home = SiteHome(Path(sys.argv[1]))
    log_to(home.log)
    with claimed(home.path, "site", name=".node.lock"):
        Node(home).run()


if __name__ == "__main__":
    main()

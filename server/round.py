"""One round with the sites: push, pull until the timeout, validate before anything is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from flwr.app import Message
from flwr.serverapp import Grid

from motet.errors import ProtocolError, known_codes
from motet.flower.parcels import unparcel
from motet.flower.records import Body, Envelope, decode, encode
from motet.server.events import Event, Kind, Observer

Check = Callable[[str, Body], str]
"""``(site, body) -> ""`` or the code for which the reply is rejected."""

PAUSE = 0.002
"""Seconds between looks for replies where the grid itself does not wait."""


@dataclass(frozen=True, kw_only=True)
class Replies:
    """Accepted bodies by site, and for the other sites the code of what went wrong."""

    accepted: Mapping[str, Body]
    failed: Mapping[str, str]
    refused: Mapping[str, Body] = field(default_factory=dict)
    """What sites said beside a code; nothing of it is trusted or kept."""


class Round:
    """One request to several sites, until each has replied or the time is up.

    The parameters are those of :class:`~motet.server.exchange.Exchange`.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        action: str,
        nodes: Mapping[str, int],
        envelope: Envelope,
        body: Body | Mapping[str, Body],
        check: Check | None,
        timeout: float,
        ping: float | None,
        observe: Observer,
    ) -> None:
        self._grid, self._action, self._nodes = grid, action, nodes
        self._envelope, self._body, self._check = envelope, body, check
        self._timeout, self._ping, self._observe = timeout, ping, observe
        self._open = set(nodes)
        self._sent: dict[str, str] = {}  # message -> site
        self._asked: dict[str, str] = {}  # question -> site
        self._attempts = dict.fromkeys(nodes, 1)
        self._unanswered = dict.fromkeys(nodes, 0)
        self._accepted: dict[str, Body] = {}
        self._failed: dict[str, str] = {}
        self._refused: dict[str, Body] = {}
        self._deadline = 0.0

    def run(self) -> Replies:
        """Run it."""
        began = time.monotonic()
        self._deadline = began + self._timeout
        self._sent |= self._push(self._action, self._envelope, self._body, sorted(self._open))
        asked = began
        while self._open and time.monotonic() < self._deadline:
            arrived = list(self._grid.pull_messages([*self._sent, *self._asked]))
            for message in arrived:
                self._take(message)
            if self._ping and time.monotonic() > asked + self._ping:
                self._question()
                asked = time.monotonic()  # after an outage: one question, not all that were missed
            # Both grids wait by themselves where there is nothing; this is for one that does not.
            if self._open and not arrived:
                time.sleep(PAUSE)
        self._failed.update(dict.fromkeys(self._open, "timeout"))
        return Replies(accepted=self._accepted, failed=self._failed, refused=self._refused)

    def _push(
        self,
        action: str,
        envelope: Envelope,
        body: Body | Mapping[str, Body],
        sites: Iterable[str],
        ttl: float | None = None,
    ) -> dict[str, str]:
        """Send to sites; message id -> site."""
        if isinstance(body, Body):
            contents = dict.fromkeys(sites, encode(envelope, body))
        else:
            contents = {site: encode(envelope, body[site]) for site in sites}
        messages = {
            site: Message(
                content,
                self._nodes[site],
                action,
                ttl=ttl or self._timeout,
                group_id=str(envelope.round),
            )
            for site, content in contents.items()
        }
        identifiers = list(self._grid.push_messages(messages.values()))
        return dict(zip(identifiers, messages, strict=True))

    def _take(self, message: Message) -> None:
        identifier = message.metadata.reply_to_message_id
        if (site := self._asked.pop(identifier, "")) in self._open:
            self._answered(site, message)
        elif (site := self._sent.pop(identifier, "")) in self._open:
            if message.has_error() and self._ping:
                # Flower's word for a node that is gone, or whose reply will never be whole. It is
                # asked again when it is back.
                return
            self._open.discard(site)
            self._receive(site, message)

    def _question(self) -> None:
        """Ask the sites that have not replied what became of the request."""
        assert self._ping is not None
        for site in sorted(self._open):
            self._unanswered[site] += 1
            if self._unanswered[site] == 3:
                self._observe(Event(kind=Kind.SILENT, site=site, code="silent"))
        questions = self._push("query.ping", self._envelope, Body(), sorted(self._open), self._ping)
        self._asked = questions

    def _answered(self, site: str, message: Message) -> None:
        if message.has_error():
            return
        try:
            envelope, body = decode(unparcel(message.content))
        except ProtocolError:
            return
        if envelope.status != "ok":
            # It refuses the run, not the question.
            self._open.discard(site)
            self._receive(site, message)
            return
        if self._unanswered[site] >= 3:
            self._observe(Event(kind=Kind.BACK, site=site))
        self._unanswered[site] = 0
        state = body.document.get("state") if isinstance(body.document, dict) else None
        if state == "unknown":
            self._attempts[site] += 1
            again = replace(self._envelope, attempt=self._attempts[site])
            # What is sent again lives as long as the round: nobody waits for it after that.
            left = max(1.0, self._deadline - time.monotonic())
            self._sent |= self._push(self._action, again, self._body, [site], left)

    def _receive(self, site: str, message: Message) -> None:
        if message.has_error():
            self._failed[site] = "site-app"
            return
        try:
            envelope, body = decode(unparcel(message.content))
        except ProtocolError as error:
            self._failed[site] = error.code
            return
        sent = self._envelope
        if envelope.status != "ok":
            # No words of a site reach the coordinator's log: a code that is not ours is not kept.
            known = envelope.status in known_codes()
            self._failed[site] = envelope.status if known else "unknown"
            self._refused[site] = body
        elif (envelope.run, envelope.plan, envelope.phase, envelope.round) != (
            sent.run,
            sent.plan,
            sent.phase,
            sent.round,
        ):
            self._failed[site] = "stale"
        elif self._check and (code := self._check(site, body)):
            self._failed[site] = code
        else:
            self._accepted[site] = body

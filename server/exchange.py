"""One round with the sites: push, pull until the timeout, validate before anything is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.serverapp import Grid

from motet.errors import ProtocolError, is_plain_name, known_codes
from motet.flower.records import Body, Envelope, decode, encode

Check = Callable[[str, Body], str]
"""``(site, body) -> ""`` or the code for which the reply is rejected."""


@dataclass(frozen=True, kw_only=True)
class Replies:
    """Accepted bodies by site, and for the other sites the code of what went wrong."""

    accepted: Mapping[str, Body]
    failed: Mapping[str, str]


class Exchange:
    """Talks with the sites of one run over a Flower grid.

    Parameters
    ----------
    grid : Grid
    run : str
        Name of the run; replies to another run are rejected.
    timeout : float
        Seconds to wait for replies. Messages live as long, so a straggler does not serve a queue
        of rounds that nobody waits for.
    """

    def __init__(self, grid: Grid, *, run: str, timeout: float) -> None:
        self._grid, self._run, self._timeout = grid, run, timeout
        self._nodes: dict[str, int] = {}
        self._round = 0

    def hello(self) -> Replies:
        """Ask every connected node for its site's name and version."""
        names = {f"node {node}": node for node in self._grid.get_node_ids()}
        replies = self._round_trip(
            "query.hello", names, Envelope(run=self._run), Body(), None, self._timeout
        )
        accepted, failed = {}, dict(replies.failed)
        for node, body in replies.accepted.items():
            site = body.document.get("site") if isinstance(body.document, dict) else None
            if not isinstance(site, str) or not is_plain_name(site) or site in accepted:
                failed[node] = "site-name"
                continue
            accepted[site] = body
            self._nodes[site] = names[node]
        return Replies(accepted=accepted, failed=failed)

    def ask(
        self,
        action: str,
        sites: Iterable[str],
        body: Body,
        *,
        plan: str = "",
        phase: str = "",
        check: Check | None = None,
        timeout: float | None = None,
    ) -> Replies:
        """Send `body` to `sites` and return their replies, each accepted by `check` or failed.

        `timeout`, seconds, where another than the run's is wanted.
        """
        self._round += 1
        envelope = Envelope(run=self._run, plan=plan, phase=phase, round=self._round)
        nodes = {site: self._nodes[site] for site in sorted(sites)}
        return self._round_trip(action, nodes, envelope, body, check, timeout or self._timeout)

    def _round_trip(
        self,
        action: str,
        nodes: Mapping[str, int],
        envelope: Envelope,
        body: Body,
        check: Check | None,
        timeout: float,
    ) -> Replies:
        content = encode(envelope, body)
        messages = [
            Message(content, node, action, ttl=timeout, group_id=str(envelope.round))
            for node in nodes.values()
        ]
        identifiers = list(self._grid.push_messages(messages))
        site_of = dict(zip(identifiers, nodes, strict=True))
        accepted: dict[str, Body] = {}
        failed: dict[str, str] = {}
        deadline = time.monotonic() + timeout
        pause = 0.0
        while site_of and time.monotonic() < deadline:
            arrived = list(self._grid.pull_messages(list(site_of)))
            for message in arrived:
                site = site_of.pop(message.metadata.reply_to_message_id, "")
                if site:
                    self._receive(site, message, envelope, check, accepted, failed)
            # The in-process grid waits by itself; a remote one is polled ever more slowly.
            pause = 0.0 if arrived else min(pause + 0.01, 0.2)
            if site_of and pause > 0.02:
                time.sleep(pause)
        failed.update(dict.fromkeys(site_of.values(), "timeout"))
        return Replies(accepted=accepted, failed=failed)

    @staticmethod
    def _receive(
        site: str,
        message: Message,
        sent: Envelope,
        check: Check | None,
        accepted: dict[str, Body],
        failed: dict[str, str],
    ) -> None:
        if message.has_error():
            failed[site] = "site-app"
            return
        try:
            envelope, body = decode(message.content)
        except ProtocolError as error:
            failed[site] = error.code
            return
        if envelope.status != "ok":
            # No words of a site reach the coordinator's log: a code that is not ours is not kept.
            known = envelope.status in known_codes()
            failed[site] = envelope.status if known else "unknown"
        elif (envelope.run, envelope.plan, envelope.phase, envelope.round) != (
            sent.run,
            sent.plan,
            sent.phase,
            sent.round,
        ):
            failed[site] = "stale"
        elif check and (code := check(site, body)):
            failed[site] = code
        else:
            accepted[site] = body

"""Talking with the sites of one run: who they are, what is asked, what is accepted."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from flwr.serverapp import Grid

from motet.errors import is_plain_name
from motet.flower.records import Body, Envelope
from motet.server.events import Event, Kind, Observer, unobserved
from motet.server.round import Check, Replies, Round
from motet.version import __version__

__all__ = ["Check", "Exchange", "Replies"]

VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,30}")
LOOK = 0.25
"""Seconds between looks for sites that are not connected yet."""

HELLO = 10.0
"""Seconds that a site which was silent has to show that it is back."""


def version_in(body: Body) -> str:
    """The version of Motet that a site says it has; empty where it says anything else."""
    theirs = body.document.get("motet") if isinstance(body.document, dict) else None
    return theirs if isinstance(theirs, str) and VERSION.fullmatch(theirs) else ""


class Exchange:
    """Talks with the sites of one run over a Flower grid.

    Parameters
    ----------
    grid : Grid
    run : str
        Name of the run; replies to another run are rejected. A deployed run has one of its own
        each time, so that no site sends again what it replied to an earlier one.
    timeout : float
        Seconds to wait for replies. Messages live as long, so a straggler does not serve a queue
        of rounds that nobody waits for.
    expected : mapping of int to str, optional
        Node id -> site, of the enrolled sites that should take part. A node is the site whose key
        it has, whatever it says. None: every node, by the name it says.
    wait : float
        Seconds to wait until all expected sites are connected.
    ping : float, optional
        Seconds after which a site that has not replied is asked what became of the request. One
        that does not know it, since it was restarted, is sent it again. None: a message that was
        pushed is never lost.
    observe : Observer
        Told of sites that are waited for.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        run: str,
        timeout: float,
        expected: Mapping[int, str] | None = None,
        wait: float = 0.0,
        ping: float | None = None,
        observe: Observer = unobserved,
    ) -> None:
        self._grid, self._run, self._timeout = grid, run, timeout
        self._expected, self._wait, self._ping = expected, wait, ping
        self._observe = observe
        self._nodes: dict[str, int] = {}
        self._round = 0

    @property
    def run(self) -> str:
        """Name of the run."""
        return self._run

    def hello(self) -> Replies:
        """Ask every connected node for its site's name and version."""
        names = self._connected()
        replies = self._ask("query.hello", names, Envelope(run=self._run), Body(), None, None)
        accepted, failed = {}, dict(replies.failed)
        self._versions({**replies.accepted, **replies.refused})
        for node, body in replies.accepted.items():
            site = body.document.get("site") if isinstance(body.document, dict) else None
            known = self._expected is None or site == node
            if (
                not isinstance(site, str)
                or not is_plain_name(site)
                or site in accepted
                or not known
            ):
                failed[node] = "site-name"
                continue
            accepted[site] = body
            self._nodes[site] = names[node]
        for site in (self._expected or {}).values():
            if site not in accepted:
                failed.setdefault(site, "not-connected")
        return Replies(accepted=accepted, failed=failed)

    def _versions(self, said: Mapping[str, Body]) -> None:
        """Tell of sites with another version of Motet than this one."""
        for site, body in sorted(said.items()):
            theirs = version_in(body)
            if theirs not in ("", __version__):
                self._observe(Event(kind=Kind.VERSION, site=site, code=theirs))

    def _connected(self) -> dict[str, int]:
        """Name -> node of those that are there; waits for the expected."""
        if self._expected is None:
            return {f"node {node}": node for node in self._grid.get_node_ids()}
        deadline, told = time.monotonic() + self._wait, False
        while True:
            here = {self._expected[n]: n for n in self._grid.get_node_ids() if n in self._expected}
            missing = sorted(set(self._expected.values()) - set(here))
            if not missing or time.monotonic() >= deadline:
                return here
            if not told:
                told = True
                for site in missing:
                    self._observe(Event(kind=Kind.SILENT, site=site, code="not-connected"))
            time.sleep(LOOK)

    def again(self, sites: Sequence[str]) -> tuple[str, ...]:
        """Of sites that were silent, those that answer now; where nothing is lost, none."""
        if self._ping is None or not sites:
            return ()
        return tuple(sorted(self.ask("query.hello", sites, Body(), timeout=HELLO).accepted))

    def ask(
        self,
        action: str,
        sites: Iterable[str],
        body: Body | Mapping[str, Body],
        *,
        plan: str = "",
        phase: str = "",
        check: Check | None = None,
        timeout: float | None = None,
    ) -> Replies:
        """Send `body` to `sites` and return their replies, each accepted by `check` or failed.

        Where they are asked different things, `body` has one for each.
        `timeout`, seconds, where another than the run's is wanted.
        """
        self._round += 1
        envelope = Envelope(run=self._run, plan=plan, phase=phase, round=self._round)
        nodes = {site: self._nodes[site] for site in sorted(sites)}
        return self._ask(action, nodes, envelope, body, check, timeout)

    def _ask(
        self,
        action: str,
        nodes: Mapping[str, int],
        envelope: Envelope,
        body: Body | Mapping[str, Body],
        check: Check | None,
        timeout: float | None,
    ) -> Replies:
        return Round(
            self._grid,
            action=action,
            nodes=nodes,
            envelope=replace(envelope, attempt=1),
            body=body,
            check=check,
            timeout=timeout or self._timeout,
            ping=self._ping,
            observe=self._observe,
        ).run()

"""Real workers, apps and coordinator on the in-process grid; some sites may misbehave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid

from conformance.cases import Case
from motet.bids.table import Table
from motet.client.app import client_app
from motet.client.policy import OPEN, SitePolicy
from motet.client.worker import SiteWorker
from motet.config import Federation as FederationConfig
from motet.flower.inprocess import InProcessGrid
from motet.flower.records import Body, Envelope, decode
from motet.server import Coordinator, Event, Outcome
from motet.server.anchors import Anchors
from motet.server.exchange import Exchange

Answer = Callable[[], Message]
Alter = Callable[[Message, Answer], Message]
"""``(request, answer) -> reply``: what a site does instead of answering."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One exchange of one site."""

    site: str
    action: str
    envelope: Envelope
    reply: Message


class Federation:
    """The sites of a case, ready to run a study.

    Parameters
    ----------
    case : Case
    tables : mapping, optional
        Site -> table; default: every batch is a site.
    alter : mapping
        Site -> what it does instead of answering honestly.
    folder : Path, optional
        The sites keep their state in its subfolders, so that a second Federation can resume.
    fingerprints : mapping
        Site -> fingerprint of its data.
    policies : mapping
        Site -> what it lets leave; default: everything.
    anchors : Anchors, optional
        Of the coordinator, whose public key is `countersigned_by`.
    """

    def __init__(
        self,
        case: Case,
        tables: Mapping[str, Table] | None = None,
        *,
        alter: Mapping[str, Alter] | None = None,
        folder: Path | None = None,
        fingerprints: Mapping[str, str] | None = None,
        policies: Mapping[str, SitePolicy] | None = None,
        anchors: Anchors | None = None,
        countersigned_by: str = "",
        timeout: float = 30.0,
    ) -> None:
        self.tables = dict(tables or case.tables())
        self.values = np.full_like(case.values, np.nan)
        self.events: list[Event] = []
        self.errors: list[tuple[str, Exception]] = []
        self.warnings: list[tuple[str, str]] = []
        self.sent: list[Sent] = []
        self._alter = dict(alter or {})
        self._anchors = anchors
        self._grid: InProcessGrid | None = None
        limits = FederationConfig(timeout=timeout, quorum=2)
        self.study = case.study.model_copy(update={"federation": limits})
        self.workers = {
            site: SiteWorker(
                name=site,
                open_table=lambda params, table=table, **asked: table,
                sink=self._sink,
                folder=None if folder is None else folder / site,
                fingerprint=(fingerprints or {}).get(site, ""),
                policy=(policies or {}).get(site, OPEN),
                secret=f"the secret of {site}".encode(),
                countersigned_by=countersigned_by,
                say=lambda text, site=site: self.warnings.append((site, text)),
                failed=lambda site, error: self.errors.append((site, error)),
            )
            for site, table in self.tables.items()
        }

    def run(
        self,
        *,
        quorum: int = 2,
        checkpoint: Path | None = None,
        exchange: Callable[[Grid], Exchange] | None = None,
    ) -> Outcome:
        """Run the study; the checkpoint is forgotten when it is complete."""
        inner = client_app(lambda context: self.workers[str(context.node_config["site"])])
        grid = self._grid = InProcessGrid({site: self._app(site, inner) for site in self.tables})
        limits = self.study.federation.model_copy(update={"quorum": quorum})
        study = self.study.model_copy(update={"federation": limits})
        coordinator = Coordinator(
            grid,
            study,
            checkpoint=checkpoint,
            observe=self.events.append,
            exchange=None if exchange is None else exchange(grid),
            anchors=self._anchors,
        )
        try:
            outcome = coordinator.run()
            coordinator.finished()
        finally:
            grid.close()
        return outcome

    def ended(self) -> None:
        """Wait until no site works any more, as when their processes are gone."""
        assert self._grid is not None
        self._grid._pool.shutdown(wait=True)

    def asked(self, action: str) -> list[tuple[str, str]]:
        """(site, phase) of every message of this kind that was answered, in order."""
        return [(s.site, s.envelope.phase) for s in self.sent if s.action == action]

    def _app(self, site: str, inner: Any) -> Any:
        def app(message: Message, context: Context) -> Message:
            def answer() -> Message:
                return inner(message, context)

            envelope, _ = decode(message.content)
            alter = self._alter.get(site)
            reply = answer() if alter is None else alter(message, answer)
            action = message.metadata.message_type
            self.sent.append(Sent(site=site, action=action, envelope=envelope, reply=reply))
            return reply

        return app

    @contextmanager
    def _sink(self, table: Table, description: Mapping[str, Any]) -> Any:
        yield _Writer(self.values, table)


class Meddling(Federation):
    """A coordinator that changes what it says to one site.

    Parameters
    ----------
    case, tables
    site : str
    action : str
        Which message.
    change : callable
        ``(envelope, body) -> content`` in its place.
    """

    def __init__(
        self,
        case: Case,
        tables: Mapping[str, Table] | None = None,
        *,
        site: str,
        action: str,
        change: Callable[[Envelope, Body], RecordDict],
        **options: Any,
    ) -> None:
        super().__init__(case, tables, **options)
        self._meddled = (site, action, change)

    def _app(self, site: str, inner: Any) -> Any:
        victim, action, change = self._meddled

        def meddled(message: Message, context: Context) -> Message:
            if (site, message.metadata.message_type) == (victim, action):
                message.content = change(*decode(message.content))
            return inner(message, context)

        return super()._app(site, meddled)


class _Writer:
    def __init__(self, values: np.ndarray, table: Table) -> None:
        self._values, self._table = values, table

    def write(self, rows: Any, block: np.ndarray) -> None:
        self._values[self._table.rows[rows]] = block


def run_case(case: Case, tables: Mapping[str, Table] | None = None) -> tuple[Outcome, np.ndarray]:
    """Run a case whose sites are honest; values in the order of its rows."""
    federation = Federation(case, tables)
    outcome = federation.run()
    assert not outcome.missing, (outcome.missing, federation.errors)
    return outcome, federation.values

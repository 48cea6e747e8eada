"""The process that works on a site's data: persistent, without network and without the node's key.

``python -m motet.client.desk HOME FD`` answers requests on a pipe. It owns data, networks and GPU.
It may be killed at any time: the next one takes up the study from the site's own disk.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from flwr.app import RecordDict
from threadpoolctl import threadpool_limits

from motet.bids.read import fingerprint
from motet.client.app import answer
from motet.client.home import SiteHome
from motet.client.opening import open_site
from motet.client.site_result import write_cohort, write_report
from motet.client.worker import SiteWorker
from motet.errors import DeploymentError, MotetError, ProtocolError, is_plain_name
from motet.flower.parcels import pack, unpack
from motet.flower.records import Body, Envelope, decode
from motet.images.derivatives import derivative_writer
from motet.store import noted, read_json, sweep, write_json
from motet.supervise import claimed, die_with_parent, log_to
from motet.version import __version__

log = logging.getLogger("motet.site")

PATIENCE = 15.0
"""Seconds to wait for a worker before this one, which was killed, to be gone."""


class Desk:
    """Finds the worker for a message.

    Parameters
    ----------
    home : SiteHome
    """

    def __init__(self, home: SiteHome) -> None:
        self._home, self._settings = home, home.settings
        self._warnings: list[str] = []
        self._run = ""
        self._worker: SiteWorker | None = None

    def worker_for(self, action: str, envelope: Envelope, body: Body) -> SiteWorker:
        """The worker of this run; made anew where the process that held it is gone."""
        if action == "query.agree":
            self._begin(envelope.run, body.document)
        elif self._run != envelope.run:
            self._take_up(action, envelope)
        if action == "query.prepare":
            asked = {**self._session(), "plan": envelope.plan, "prepare": body.document}
            write_json(self._file, asked)
        assert self._worker is not None
        return self._worker

    def _begin(self, run: str, document: Any) -> None:
        try:
            study = str(document["study"]["study"])
        except (KeyError, TypeError) as error:
            raise ProtocolError("A request for a description holds no study.") from error
        if not is_plain_name(study):
            raise ProtocolError("The study has a name that cannot be a folder's.")
        self._warnings = []
        self._run, self._worker = run, self._new(study)
        write_json(self._file, {"run": run, "agree": document})

    def _take_up(self, action: str, envelope: Envelope) -> None:
        """Go on with a study that a process before this one began."""
        asked = self._session()
        if asked.get("run") != envelope.run:
            raise ProtocolError("The run was not begun at this site.")
        worker = self._new(str(asked["agree"]["study"]["study"]))
        plan = asked.get("plan", "")
        worker.take_up(asked["agree"], asked.get("prepare"), plan, envelope.phase, action=action)
        self._run, self._worker = envelope.run, worker

    @property
    def _file(self) -> Path:
        return self._home.path / "run.json"

    def _session(self) -> dict[str, Any]:
        return noted(self._file)

    def _new(self, study: str) -> SiteWorker:
        folder, data = self._home.study(study), self._settings.data
        return SiteWorker(
            name=self._settings.name,
            open_table=lambda params, **asked: open_site(
                data, site=self._settings.name, params=params, say=self._say, **asked
            ),
            sink=lambda table, about: derivative_writer(
                folder / "harmonized", table, description=about
            ),
            folder=folder,
            ledger=self._home.ledger,
            policy=self._settings.policy,
            secret=self._home.secret(),
            approvals=self._home.approvals(),
            peers=self._home.peers(self._say),
            countersigned_by=self._settings.ledger_key,
            asked=self._home.pending.keep,
            fingerprint=fingerprint(data),
            device=self._settings.device,
            say=self._say,
        )

    def _say(self, sentence: str) -> None:
        if sentence not in self._warnings:
            self._warnings.append(sentence)
            log.warning("%s", sentence)

    def conclude(self) -> None:
        """Write who was in the fit, and the site's report. Both stay here."""
        done = self._worker.done() if self._worker is not None else None
        if done is None:
            return
        folder = done.folder
        manifest = folder / "model" / "manifest.json"
        if not manifest.is_file():
            return
        document = read_json(manifest)["document"]
        if document["plan"] != done.plan.hash:
            return  # the site was lost before it harmonized: the model is an earlier study's
        write_cohort(folder, done.table, done.fit, others=done.others)
        about = {
            "study": done.plan.study,
            "method": done.plan.method,
            "plan": done.plan.hash,
            "model": document["model"],
            "motet": __version__,
        }
        report = write_report(
            folder,
            done.table,
            done.fit,
            about=about,
            warnings=self._warnings,
            ledger=self._home.ledger,
        )
        log.info("the site's report: %s", report)


def main() -> None:
    """Answer until the pipe is closed."""
    die_with_parent(signal.SIGKILL)  # whatever it does: the next one takes the data up at once
    home, channel = SiteHome(Path(sys.argv[1])), Connection(int(sys.argv[2]))
    log_to(home.log)
    sweep(home.outbox, home.path / "studies")
    began = time.monotonic()
    while True:
        try:
            with claimed(home.path, "worker", name=".worker.lock"), threadpool_limits(1, "blas"):
                _serve(Desk(home), channel)
            return
        except DeploymentError:
            if time.monotonic() - began > PATIENCE:
                raise
            time.sleep(0.1)


def _serve(desk: Desk, channel: Connection) -> None:
    while True:
        try:
            job = json.loads(channel.recv_bytes())
            content = unpack(channel.recv_bytes(), channel.recv_bytes())
        except (EOFError, OSError):
            return
        if job["action"] == "query.close":
            # Before the reply: where this process is killed in between, it is asked again.
            _conclude(desk, content)
        for part in pack(answer(desk.worker_for, str(job["action"]), content)):
            channel.send_bytes(part)


def _conclude(desk: Desk, content: RecordDict) -> None:
    """Write what the site keeps for itself. The study is done, whatever happens to its report."""
    try:
        envelope, body = decode(content)
        desk.worker_for("query.close", envelope, body)
        desk.conclude()
    except Exception as error:  # a full disk must not look like a failed study
        log.warning("no report: %s", error, exc_info=not isinstance(error, MotetError))


if __name__ == "__main__":
    main()

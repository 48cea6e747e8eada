"""What a site does with each message. It owns the data; only the gate lets anything out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.apply import harmonized
from motet.client.gate import Gate
from motet.client.keep import Keep
from motet.client.local_site import LocalSite, silent
from motet.cohort import in_fit
from motet.config import Study, parse_study
from motet.errors import MotetError, PlanError, ProtocolError
from motet.harmonizer import Params, SiteModel
from motet.phases import Local, Publish, Sum
from motet.plan import AGREE, Plan, build_plan, model_document, parse_params
from motet.releases import Arrays
from motet.schema import Schema, SiteSchema, names_digest
from motet.store import content_hash, save_model
from motet.version import __version__

log = logging.getLogger("motet.site")


class Writer(Protocol):
    """Takes harmonized values, some people at a time."""

    def write(self, rows: slice | NDArray[np.intp], block: NDArray[Any]) -> None:
        """Take (r, p) values of some people."""
        ...


Sink = Callable[[Table, Mapping[str, Any]], AbstractContextManager[Writer]]
"""``(table, description) -> writer`` for the people of a table."""


def log_failure(site: str, error: Exception) -> None:
    """Write an error into this machine's log, the only place where its text may stand."""
    log.error("%s: %s", site, error, exc_info=None if isinstance(error, MotetError) else error)


class SiteWorker:
    """One hospital's side of a run.

    Parameters
    ----------
    name : str
    open_table : callable
        ``params -> Table``: the site's data as the study's method wants them.
    sink : callable
        Where harmonized values go.
    folder : Path, optional
        The site's own folder: model, ledger, state.
    fingerprint : str
        Changes when the data do; see :func:`motet.bids.read.fingerprint`.
    say : callable
        The site's own log.
    failed : callable
        ``(site, error)``: told of an error of which only the code leaves.
    """

    def __init__(
        self,
        *,
        name: str,
        open_table: Callable[[Params], Table],
        sink: Sink,
        folder: Path | None = None,
        fingerprint: str = "",
        say: Callable[[str], None] = silent,
        failed: Callable[[str, Exception], None] = log_failure,
    ) -> None:
        self.name = name
        self._failed = failed
        self._open_table, self._sink, self._say = open_table, sink, say
        self._folder = folder
        self._fingerprint = fingerprint
        self._gate = Gate(name, ledger=self._path("ledger.jsonl"))
        self._study: Study | None = None
        self._table: Table | None = None
        self._run: _Run | None = None
        self.model: SiteModel | None = None

    def fail(self, error: Exception) -> None:
        """Note an error on this side."""
        self._failed(self.name, error)

    def hello(self) -> dict[str, str]:
        """Who this is."""
        return {"site": self.name, "motet": __version__}

    def agree(self, document: Any) -> Any:
        """Describe the data: features, covariates and batches, nothing of anybody.

        Where the features and units are those that the coordinator knows already (``same_as``),
        their digest stands for them: there may be 100,000.
        """
        study, table = self._opened(document)
        described = _public(table.described)
        own = names_digest((*table.features, *table.units))
        if document.get("same_as") == own:
            described = {k: v for k, v in described.items() if k not in ("features", "units")}
            described["same_as"] = own
        return self._gate.describe(
            described, (*AGREE.equal, *AGREE.union, "same_as"), study=study.study
        )

    def _opened(self, document: Any) -> tuple[Study, Table]:
        """Read the study and open the data as it wants them."""
        try:
            study = parse_study(document["study"])
        except (KeyError, TypeError) as error:
            raise ProtocolError("A request for a description holds no study.") from error
        self._study, self._run = study, None
        self._table = self._open_table(parse_params(study))
        return study, self._table

    def prepare(self, document: Any, plan_hash: str) -> dict[str, bool]:
        """Build the plan from this site's own package; refuse one that differs.

        Take up what was kept after the phases that the coordinator has recorded (``done``), and
        say whether that could be done. Without any, begin with nothing kept.
        """
        done = self._planned(document, plan_hash)
        run = self._running(plan_hash)
        mine = [path for path in done if run.plan.phase_at(path).who.site in ("", self.name)]
        if mine:
            return {"resumed": run.keep.resume(mine)}
        run.keep.begin()
        return {"resumed": True}

    def take_up(self, agreed: Any, prepared: Any, plan_hash: str, path: str) -> None:
        """Go on in the middle of a run that another process of this site began.

        What was agreed and planned is computed again, and the state before the phase `path` is
        taken up. Nothing leaves, so nothing is written down as left.
        """
        self._opened(agreed)
        if prepared is not None:
            self._planned(prepared, plan_hash)
            self._running(plan_hash).keep.resume_before(path)

    def _planned(self, document: Any, plan_hash: str) -> list[str]:
        """Build the plan; returns the phases that the coordinator has recorded."""
        if self._study is None or self._table is None:
            raise ProtocolError("A plan came before the study.")
        try:
            # The features are this site's own: if the others' differed, so would the plan's hash.
            schema = Schema.from_json(
                {**document["schema"], "features": self._table.described.features}
            )
            done = [str(path) for path in document.get("done", ())]
        except (KeyError, TypeError) as error:
            raise ProtocolError("A plan came without a schema.") from error
        plan = build_plan(self._study, schema)
        if plan.hash != plan_hash:
            raise PlanError(
                "The coordinator's plan is not the one that this site's package makes of the "
                "study.",
                do="Use the same version of Motet everywhere.",
                site=self.name,
            )
        keep = Keep(plan=plan_hash, data=self._fingerprint, path=self._path(".keep.npz"))
        fit = in_fit(self._table.people, held_out=plan.held_out, seed=plan.seed)
        site = LocalSite(
            name=self.name,
            schema=schema,
            data=self._table if fit.all() else self._table.where(fit),
            seed=plan.seed,
            keep=keep,
            say=self._say,
        )
        self._run = _Run(plan=plan, keep=keep, site=site, table=self._table)
        return done

    def phase(self, path: str, shared: Arrays, plan_hash: str) -> Arrays:
        """Do one phase and return what may leave."""
        run = self._running(plan_hash)
        phase = run.plan.phase_at(path)
        if phase.who.site not in ("", self.name):
            raise PlanError(f"The phase '{path}' is not for this site.", site=self.name)
        if path in run.keep.done and not run.keep.undo(path):
            raise ProtocolError(f"The phase '{path}' is long done here.", site=self.name)
        arrays: Arrays = {}
        if isinstance(phase, Sum | Publish):
            arrays = phase.at_site(run.site, shared)
        elif isinstance(phase, Local):
            phase.at_site(run.site, shared)
        else:
            raise PlanError(f"This version cannot run the phase '{path}'.", site=self.name)
        # State first, then the release: after a crash in between the phase is undone and done
        # again from the same state, and sends the same bytes.
        run.keep.commit(path)
        sizes = run.plan.sizes(shared)
        return self._gate.release(arrays, plan=run.plan, phase=phase, path=path, sizes=sizes)

    def finish(self, shared: Arrays, plan_hash: str) -> None:
        """Make the site model and harmonize everybody here. Nothing leaves."""
        run = self._running(plan_hash)
        plan, method = run.plan, run.plan.harmonizer
        self.model = method.site_model(plan.params, run.site, shared)
        description = {"method": plan.method, "study": plan.study, "plan": plan.hash}
        if folder := self._path("model"):
            description["model"] = content_hash(shared, model_document(plan))
            save_model(
                folder,
                self.model.arrays,
                {**description, "site": self.name, "batches": list(self.model.batches)},
            )
        blocks = harmonized(
            run.table,
            method=method,
            params=plan.params,
            schema=plan.schema,
            shared=shared,
            model=self.model,
            seed=plan.seed,
            say=self._say,
        )
        with self._sink(run.table, description) as writer:
            for rows, block in blocks:
                writer.write(rows, block)

    def close(self) -> None:
        """Forget what was kept: the coordinator has written the result."""
        if self._run is not None:
            self._run.keep.remove()

    def _path(self, name: str) -> Path | None:
        """A file or folder of the site; None where everything stays in memory."""
        return None if self._folder is None else self._folder / name

    def _running(self, plan_hash: str) -> _Run:
        if self._run is None or self._run.plan.hash != plan_hash:
            raise ProtocolError("This plan was not prepared here.", site=self.name)
        return self._run


@dataclass(frozen=True, kw_only=True)
class _Run:
    plan: Plan
    keep: Keep
    site: LocalSite
    table: Table


def _public(described: SiteSchema) -> dict[str, Any]:
    return {
        "features": list(described.features),
        "units": list(described.units),
        "covariates": [
            {"name": c.name, "kind": c.kind, "levels": list(c.levels), "varies": c.varies}
            for c in described.covariates
        ],
        "batches": list(described.batches),
    }

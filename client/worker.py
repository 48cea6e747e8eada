"""What a site does with each message. It owns the data; only the gate lets anything out."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.anchoring import Anchoring
from motet.client.approval import Approvals
from motet.client.described import DESCRIBED, masked, public
from motet.client.drawn import Drawn
from motet.client.finishing import Sink, judging, own_model, write_harmonized
from motet.client.gate import Gate
from motet.client.keep import Keep
from motet.client.local_site import LocalSite, silent
from motet.client.masking import Masking
from motet.client.peers import Peers
from motet.client.permission import Permission
from motet.client.planned import Planned
from motet.client.policy import OPEN, SitePolicy
from motet.client.waiting import Waiting
from motet.cohort import seen_by_fit
from motet.config import Study, parse_study
from motet.errors import MotetError, PlanError, ProtocolError
from motet.flower.lasting import Remembering
from motet.flower.records import Body, Envelope
from motet.harmonizer import SiteModel
from motet.images.cache import FOLDER as SLICES
from motet.ledger import Ledger
from motet.params import parse_params
from motet.plan import Plan, biology, build_plan
from motet.releases import Arrays
from motet.schema import Schema, names_digest
from motet.secure.keys import SumKey
from motet.store import OWNER, read_arrays, write_arrays
from motet.training.where import Device, check_device
from motet.version import __version__

log = logging.getLogger("motet.site")

LEDGER = "ledger.sqlite"
SECOND = ("query.release", "query.reveal")
"""What is asked for when a phase is done, and changes nothing that it kept."""
FINISHED = ".shared.npz"
"""The shared model, kept until the coordinator has written the result: for the evaluation."""


def forgotten(plan: Plan, study: Mapping[str, Any]) -> None:
    """Keep nothing of what was asked for."""


def log_failure(site: str, error: Exception) -> None:
    """Write an error into this machine's log, the only place where its text may stand."""
    log.error("%s: %s", site, error, exc_info=None if isinstance(error, MotetError) else error)


class SiteWorker:
    """One hospital's side of a run.

    Parameters
    ----------
    name : str
    open_table : callable
        ``params -> Table``: the site's data as the study's method wants them; with the keyword
        ``biology`` where the study reads columns beside the method's covariates.
    sink : callable
        Where harmonized values go.
    folder : Path, optional
        The site's own folder: model, ledger, state.
    ledger : Path, optional
        The site's ledger; default: one in the folder.
    policy : SitePolicy
    secret : bytes
        The site's own, by which people are marked in its ledger, and of which its key for secure
        sums is made. Empty: one for the life of this object.
    approvals : Approvals, optional
        Who has to have approved a plan before it starts; None: nobody.
    peers : Peers, optional
        The other sites' keys for secure sums; None: whichever the coordinator gives.
    countersigned_by : str
        Public key of the coordinator, hexadecimal: then replies state the head of the ledger, and
        no number leaves before the coordinator has signed the entry that it left.
    asked : callable
        ``(plan, study)``: told of every plan that is asked for.
    fingerprint : str
        Changes when the data do; see :func:`motet.bids.read.fingerprint`.
    device : {"auto", "cpu", "cuda"}
        Where networks are trained.
    say : callable
        The site's own log.
    failed : callable
        ``(site, error)``: told of an error of which only the code leaves.
    """

    def __init__(
        self,
        *,
        name: str,
        open_table: Callable[..., Table],
        sink: Sink,
        folder: Path | None = None,
        ledger: Path | None = None,
        policy: SitePolicy = OPEN,
        secret: bytes = b"",
        approvals: Approvals | None = None,
        peers: Peers | None = None,
        countersigned_by: str = "",
        asked: Callable[[Plan, Mapping[str, Any]], None] = forgotten,
        fingerprint: str = "",
        device: Device = "cpu",
        say: Callable[[str], None] = silent,
        failed: Callable[[str, Exception], None] = log_failure,
    ) -> None:
        self.name, self._device = name, device
        self._failed = failed
        self._open_table, self._sink, self._say = open_table, sink, say
        self._folder = folder
        self._fingerprint = fingerprint
        book = ledger or self._path(LEDGER)
        own = None if book is None else Ledger(book, site=name)
        self.anchoring = Anchoring(own, countersigned_by, say)
        self._waiting = Waiting(self._path(".waiting.npz"))
        self.remembering = Remembering()
        self._gate = Gate(
            name, ledger=own, policy=policy, approvals=approvals, anchored=self.anchoring.on
        )
        self._policy, self._secret = policy, secret or secrets.token_bytes(32)
        self._masking = Masking(
            site=name,
            key=SumKey.of(self._secret),
            ledger=own,
            alone=policy.plain_sums,
            peers=peers,
            everybody=self.anchoring.on,
        )
        self._approvals, self._asked = approvals, asked
        self._study: Study | None = None
        self._table: Table | None = None
        self._run: Planned | None = None
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
        self._gate.check_method(study.method, study=study.study)
        described = public(table.described, scaled=masked(study, document))
        if holds := table.holds(parse_params(study).keyed):
            described["holds"] = list(holds)
        own = names_digest((*table.features, *table.units))
        if document.get("same_as") == own:
            described = {k: v for k, v in described.items() if k not in ("features", "units")}
            described["same_as"] = own
        return self._gate.describe(described, (*DESCRIBED, "same_as"), study=study.study)

    def _opened(self, document: Any) -> tuple[Study, Table]:
        """Read the study and open the data as it wants them."""
        try:
            study = parse_study(document["study"])
        except (KeyError, TypeError) as error:
            raise ProtocolError("A request for a description holds no study.") from error
        check_device(parse_params(study), self._device)
        self._study, self._run = study, None
        asked = {"biology": columns} if (columns := biology(study)) else {}
        self._table = self._open_table(parse_params(study), **asked)
        return study, self._table

    def prepare(self, document: Any, plan_hash: str) -> dict[str, Any]:
        """Build the plan from this site's own package; refuse one that differs.

        Take up what was kept after the phases that the coordinator has recorded (``done``), and
        say whether that could be done. Without any, begin with nothing kept. Where sums are to be
        masked, tell the public key for them, and whether this site's own may be read.
        """
        done = self._planned(document, plan_hash)
        run = self.planned(plan_hash)
        assert self._study is not None
        self._asked(run.plan, self._study.public())
        run.permission.approved()
        mine = [p for p in done if run.plan.keeps(self.name, run.plan.phase_at(p))]
        masking = self._masking
        told = {"sum_key": masking.key.public.hex(), "alone": masking.alone}
        if mine:
            return {"resumed": run.keep.resume(mine), **(told if run.plan.needs_keys else {})}
        run.begin()
        return {"resumed": True, **(told if run.plan.needs_keys else {})}

    def take_up(
        self,
        agreed: Any,
        prepared: Any,
        plan_hash: str,
        path: str,
        *,
        action: str = "train.phase",
    ) -> None:
        """Go on in the middle of a run that another process of this site began.

        What was agreed and planned is computed again, and the state before the phase `path` is
        taken up; or the last one, where what is asked for (`action`) comes after what the phase
        kept. Nothing leaves, so nothing is written down as left.
        """
        self._opened(agreed)
        if prepared is not None:
            self._planned(prepared, plan_hash)
            self.planned(plan_hash).keep.resume_before("" if action in SECOND else path)
            if (file := self._path(FINISHED)) and file.is_file():
                run, shared = self.planned(plan_hash), read_arrays(file)
                model = own_model(run, shared, silent)
                run.judging = judging(run, shared, model, self._say)

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
        own = self._table.described.scale
        if schema.scale is not None and own is not None and not own.within(schema.scale):
            raise ProtocolError(
                "The coordinator says that numbers are smaller than this site told it.",
                site=self.name,
            )
        plan = build_plan(self._study, schema)
        if plan.hash != plan_hash:
            raise PlanError(
                "The coordinator's plan is not the one that this site's package makes of the "
                "study.",
                do="Use the same version of Motet everywhere.",
                site=self.name,
            )
        keep = Keep(plan=plan_hash, data=self._fingerprint, path=self._path(".keep.npz"))
        fit = seen_by_fit(self._table, held_out=plan.held_out, seed=plan.seed, params=plan.params)
        if self.name in plan.unseen:
            fit = np.zeros(len(fit), dtype=bool)
        site = LocalSite(
            name=self.name,
            schema=schema,
            data=self._table if fit.all() else self._table.where(fit),
            seed=plan.seed,
            keep=keep,
            say=self._say,
            device=self._device,
            folder=self._folder,
        )
        permission = Permission(
            gate=self._gate,
            policy=self._policy,
            approvals=self._approvals,
            plan=plan,
            table=self._table,
            fit=fit,
            secret=self._secret,
        )
        self._run = Planned(
            plan=plan,
            keep=keep,
            site=site,
            table=self._table,
            fit=fit,
            permission=permission,
            gate=self._gate,
            masking=self._masking,
            anchoring=self.anchoring,
            drawn=Drawn(path=self._path(".drawn.npz")),
        )
        return done

    def phase(self, path: str, shared: Arrays, plan_hash: str, *, run: str = "") -> Arrays:
        """Do one phase and return what may leave."""
        return self.planned(plan_hash).phase(path, shared, run=run)

    def leave(self, body: Body, *, to: Envelope) -> Body:
        """The reply to a phase: its release, or that it waits for its countersignature.

        Parameters
        ----------
        body : Body
            What stands in the ledger as leaving.
        to : Envelope
            The request.
        """
        standing = self.anchoring.standing()
        if not body.arrays or not standing:
            return replace(body, document={**(body.document or {}), **standing} or None)
        self._waiting.hold(body, standing["ledger"][0], to=to)
        return Body(document={"waits": True, **standing})

    def release(self, countersigned: Any, *, to: Envelope) -> Body:
        """Let go what waits, now that its entry is countersigned.

        Raises
        ------
        CountersignatureError, NotApprovedError, ProtocolError
        """
        run = self.planned(to.plan)
        body, number = self._waiting.held(to)
        run.permission.approved()
        self.anchoring.require(countersigned, number)
        return body

    def finish(self, shared: Arrays, plan_hash: str) -> None:
        """Make the site model and harmonize everybody here. Nothing leaves."""
        run = self.planned(plan_hash)
        self.model = own_model(run, shared, self._say)
        if run.plan.evaluation:
            run.judging = judging(run, shared, self.model, self._say)
            if file := self._path(FINISHED):
                write_arrays(file, shared, readable_by=OWNER)
        write_harmonized(
            run, shared, self.model, folder=self._path("model"), sink=self._sink, say=self._say
        )

    def done(self) -> Done | None:
        """The study as it is planned here, for the site's own report; None before that."""
        run = self._run
        if run is None or self._folder is None:
            return None
        others = "unseen" if self.name in run.plan.unseen else "held_out"
        return Done(folder=self._folder, plan=run.plan, table=run.table, fit=run.fit, others=others)

    def close(self) -> None:
        """Forget what was kept: the coordinator has written the result."""
        self.remembering = Remembering()
        if self._run is not None:
            self._run.judging = None
            self._run.keep.remove()
            self._run.drawn.remove()
        if folder := self._path(SLICES):
            shutil.rmtree(folder, ignore_errors=True)
        self._waiting.forget()
        if file := self._path(FINISHED):
            file.unlink(missing_ok=True)

    def _path(self, name: str) -> Path | None:
        """A file or folder of the site; None where everything stays in memory."""
        return None if self._folder is None else self._folder / name

    def planned(self, plan_hash: str) -> Planned:
        """The study, once its plan was made here.

        Raises
        ------
        ProtocolError
            When another plan was, or none.
        """
        if self._run is None or self._run.plan.hash != plan_hash:
            raise ProtocolError("This plan was not prepared here.", site=self.name)
        return self._run


@dataclass(frozen=True, kw_only=True)
class Done:
    """A study at one site: its people, who of them was in the fit, and what the others are."""

    folder: Path
    plan: Plan
    table: Table
    fit: NDArray[np.bool_]
    others: str

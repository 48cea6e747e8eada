"""The round loop: agree, plan, run the steps, have the sites harmonize."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from motet.agreement import agree
from motet.config import Study
from motet.errors import MotetError, QuorumError, SchemaError, listed
from motet.evaluation.from_sums import judgement, people_of_batches
from motet.evaluation.result import Judgement
from motet.flower.records import Body
from motet.params import parse_params
from motet.phases import without_untold
from motet.plan import Plan, biology, build_plan
from motet.releases import Arrays
from motet.schema import SiteSchema
from motet.secure.circle import FEWEST
from motet.server.advice import about_missing
from motet.server.agreement import features_digest, read_site_schema
from motet.server.anchors import Anchors
from motet.server.asking import SitesLostError
from motet.server.checkpoint import Checkpoint, Progress
from motet.server.events import Event, Kind, Observer, unobserved
from motet.server.exchange import Exchange
from motet.server.received import Received
from motet.server.runner import Rows, Runner, unwritten
from motet.server.summed import Summed
from motet.strategies import check_runnable
from motet.training.phase import UNFINISHED
from motet.version import __version__

GOODBYE = 60.0
"""Seconds to wait for sites to write their own reports and forget their state."""
COMEBACKS = 2
"""Times that a site which was silent too long may join the next attempt."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to.

    Attributes
    ----------
    plan : Plan
    shared : dict of str to ndarray
        The shared model.
    missing : dict of str to str
        Sites that are not in it, or could not harmonize, with the code of the reason.
    judgement : Judgement or None
        What the sums of the evaluation say; None where the study asks for none, or where fewer
        than two sites stayed to the end of it.
    unjudged : dict of str to str
        Sites that were lost during the evaluation: they are in the model and have harmonized.
    batches : list of dict
        Every batch's ``site``, ``batch``, ``role`` (``fit`` or ``unseen``), and the rows ``fit``
        and ``held_out``, None where no sum released them.
    received : list of dict
        What the coordinator accepted, array by array: ``site``, ``phase``, ``class``, ``array``,
        ``dtype``, ``shape``, ``bytes``, ``times``.
    training : list of dict
        Lines of the log of all trainings (:mod:`motet.training.log`).
    """

    plan: Plan
    shared: dict[str, NDArray[Any]]
    missing: dict[str, str]
    judgement: Judgement | None = None
    unjudged: dict[str, str] = field(default_factory=dict)
    batches: list[dict[str, Any]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    training: list[dict[str, Any]] = field(default_factory=list)


def unstored(plan: Plan, shared: Arrays) -> None:
    """Store nothing: the caller takes the outcome."""


class Coordinator:
    """Runs a study over a Flower grid.

    A site that fails in a phase of the plan is left out, and the run starts over without it
    (ComBat: one round more), so that the result is the pooled harmonization of the sites that
    remain, to the last bit, and never a mixture. One that is lost when the model is made and
    everybody has harmonized is left out of the evaluation only, which starts over without it.

    Parameters
    ----------
    grid : Grid
    study : Study
    quorum : int
        Sites needed where the study file does not say.
    checkpoint : Path, optional
        File for the progress. The same study resumes from it.
    store : callable
        Gets plan and shared model as soon as it is complete, before the sites harmonize with it.
    log : callable
        Gets all lines of the log of trainings, again and again while these go on.
    observe : Observer
    exchange : Exchange, optional
        How to talk with the sites; default: with all nodes of the grid, as they are.
    anchors : Anchors, optional
        Puts the heads of the sites' ledgers on record, and countersigns them.
    """

    def __init__(
        self,
        grid: Grid,
        study: Study,
        *,
        quorum: int = 2,
        checkpoint: Path | None = None,
        store: Callable[[Plan, Arrays], None] = unstored,
        log: Callable[[Rows], None] = unwritten,
        observe: Observer = unobserved,
        exchange: Exchange | None = None,
        anchors: Anchors | None = None,
    ) -> None:
        self._anchors = anchors
        self._study, self._store, self._log = study, store, log
        self._quorum = study.federation.quorum or quorum
        self._exchange = exchange or Exchange(
            grid, run=study.study, timeout=study.federation.timeout
        )
        self._checkpoint = Checkpoint(checkpoint)
        self._observe = observe
        self._missing: dict[str, str] = {}
        self._received = Received()
        self._earlier: list[dict[str, Any]] = []
        self._present: tuple[str, ...] = ()
        self._comebacks: Counter[str] = Counter()
        self._summed = Summed()

    def run(self) -> Outcome:
        """Run the study.

        Raises
        ------
        SchemaError, DesignError, StudyFileError
            When the study cannot be done with these data.
        QuorumError
            When too few sites are left; names those missing and why.
        """
        sites = self._gather()
        while True:
            try:
                return self._attempt(sites)
            except SitesLostError as error:
                self._lose(error.lost)
                back = self._back(error.lost)
                sites = tuple(site for site in sites if site not in error.lost or site in back)
                gone = {site: code for site, code in error.lost.items() if site not in back}
                self._summed.check_without(gone)
                self._check_quorum(self._fitting(sites))
                self._observe(Event(kind=Kind.RESTARTED))

    def finished(self) -> None:
        """Forget the checkpoint: everything has been written. The sites may forget, too."""
        self._checkpoint.remove()
        self._exchange.ask("query.close", self._present, self._anchored(), timeout=GOODBYE)

    def _anchored(self) -> Body:
        """The countersigned heads of the sites' ledgers, for each to keep its own."""
        return Body() if self._anchors is None else Body(document=self._anchors.signed())

    def _grown(self, site: str, body: Body) -> str:
        """Whether a site's ledger has grown since it was last heard of: a code where it has not."""
        return "" if self._anchors is None else self._anchors.take(site, body, fresh=True)

    def _gather(self) -> tuple[str, ...]:
        replies = self._exchange.hello()
        other = {
            site: "version"
            for site, body in replies.accepted.items()
            if body.document.get("motet") != __version__
        }
        self._lose({**replies.failed, **other})
        sites = tuple(sorted(set(replies.accepted) - set(other)))
        unseen = self._study.evaluation.unseen
        self._lose({s: "not-connected" for s in unseen if s not in {*sites, *self._missing}})
        self._check_quorum(self._fitting(sites))
        return sites

    def _fitting(self, sites: Sequence[str]) -> tuple[str, ...]:
        """Those that take part in the fit."""
        return tuple(site for site in sites if site not in self._study.evaluation.unseen)

    def _attempt(self, sites: tuple[str, ...]) -> Outcome:
        study, self._earlier = self._study, self._received.to_json()
        schema = agree(
            self._describe(sites), biology=biology(study), unseen=study.evaluation.unseen
        )
        plan = build_plan(study, schema)
        check_runnable(plan)
        progress = self._prepare(plan, sites)
        self._runner(self._checkpoint, plan, progress).run(plan.steps[1:])
        progress.shared = without_untold(progress.shared)
        if progress.log:
            self._log(progress.log)
        self._store(plan, progress.shared)
        self._observe(Event(kind=Kind.HARMONIZING))
        replies = self._exchange.ask(
            "query.finish", sites, Body(arrays=progress.shared), plan=plan.hash
        )
        self._lose(replies.failed)
        self._check_quorum(self._fitting(tuple(replies.accepted)))
        self._present = tuple(replies.accepted)
        return self._judge(
            Outcome(
                plan=plan,
                shared=progress.shared,
                missing=dict(self._missing),
                batches=people_of_batches(plan.schema, None),
                received=self._received.to_json(),
                training=progress.log,
            )
        )

    def _judge(self, outcome: Outcome) -> Outcome:
        """Have the sites that harmonized evaluate it. Nothing that fails here touches the model."""
        plan, sites = outcome.plan, self._present
        unjudged: dict[str, str] = {}
        if not plan.evaluation:
            return outcome
        if self._summed.exposes(set(plan.schema.sites) - set(sites)):
            # Sums of the fit, less those of the evaluation, are those of who was lost in between.
            self._observe(Event(kind=Kind.UNJUDGED, code="subtraction"))
            return outcome
        self._observe(Event(kind=Kind.EVALUATING))
        while len(sites) >= (FEWEST if plan.secure else 2):
            progress = Progress(plan=plan.hash, sites=sites)
            try:
                self._runner(Checkpoint(None), plan, progress).run(plan.evaluation)
                found = judgement(plan.schema, progress.shared, left_out=unjudged)
            except SitesLostError as error:
                unjudged |= error.lost
                sites = tuple(site for site in sites if site not in error.lost)
                for site, code in sorted(error.lost.items()):
                    self._observe(Event(kind=Kind.UNJUDGED, site=site, code=code))
                if self._summed.exposes(error.lost):
                    self._observe(Event(kind=Kind.UNJUDGED, code="subtraction"))
                    break
                continue
            except (MotetError, ArithmeticError, ValueError, np.linalg.LinAlgError):
                # Absurd numbers of a site: the model is made, and stands without a judgement.
                self._observe(Event(kind=Kind.UNJUDGED, code="evaluation"))
                break
            outcome = replace(
                outcome, judgement=found, batches=people_of_batches(plan.schema, progress.shared)
            )
            break
        if outcome.judgement is None and unjudged:
            self._observe(Event(kind=Kind.UNJUDGED, code="too few sites"))
        return replace(outcome, unjudged=unjudged, received=self._received.to_json())

    def _runner(self, checkpoint: Checkpoint, plan: Plan, progress: Progress) -> Runner:
        return Runner(
            exchange=self._exchange,
            checkpoint=checkpoint,
            plan=plan,
            progress=progress,
            received=self._received,
            observe=self._observe,
            anchors=self._anchors,
            keys=self._summed.keys,
            opened=self._summed.opened,
            log=self._log,
        )

    def _describe(self, sites: Sequence[str]) -> list[SiteSchema]:
        """Every site's schema. One that cannot describe its data is left out."""
        covariates = (*parse_params(self._study).covariates, *biology(self._study))
        described: list[SiteSchema] = []
        failed: dict[str, str] = {}
        # The first names its features; the others say by a digest that theirs are the same.
        for asked in (sites[:1], sites[1:]):
            first = described[0] if described else None
            request = {
                "study": self._study.public(),
                "same_as": "" if first is None else features_digest(first),
                "masked": len(self._fitting(sites)) >= FEWEST,
            }
            replies = self._exchange.ask("query.agree", asked, Body(document=request))
            failed |= replies.failed
            for site, body in replies.accepted.items():
                try:
                    described.append(read_site_schema(site, body.document, covariates, first))
                    self._received.description(site, body.document)
                except SchemaError as error:
                    failed[site] = error.code
        if failed:
            raise SitesLostError(failed)
        return described

    def _prepare(self, plan: Plan, sites: tuple[str, ...]) -> Progress:
        """Have the sites build the same plan; go on where an interrupted run stopped, if all can.

        A site that lost its state, or whose data changed, cannot go on from the middle: then
        everybody begins anew.
        """
        self._observe(Event(kind=Kind.PLANNED, steps=len(plan.phases)))
        fitting = self._fitting(sites)
        progress = self._checkpoint.load(plan=plan.hash, sites=fitting)
        if progress is not None:
            unable = self._unable(plan, sites, progress)
            if not unable:
                self._observe(_resumes(progress))
                # What this object remembers of the time before is in there already.
                self._received.only(progress.received, since=self._earlier)
                return progress
            self._observe(Event(kind=Kind.ANEW, site=listed(unable)))
        fresh = Progress(plan=plan.hash, sites=fitting)
        self._unable(plan, sites, fresh)
        return fresh

    def _unable(self, plan: Plan, sites: tuple[str, ...], progress: Progress) -> list[str]:
        """Have the sites get ready; which of them cannot go on from there."""
        document = {
            "schema": plan.schema.without_features(),
            "done": phases_of(progress.done),
            **({} if self._anchors is None else {"ledger_at": self._anchors.last(sites)}),
        }
        replies = self._exchange.ask(
            "query.prepare", sites, Body(document=document), plan=plan.hash, check=self._grown
        )
        if replies.failed:
            raise SitesLostError(replies.failed)
        if plan.needs_keys:
            self._summed.told({site: body.document for site, body in replies.accepted.items()})
        return [
            site
            for site, body in sorted(replies.accepted.items())
            if not (isinstance(body.document, dict) and body.document.get("resumed") is True)
        ]

    def _back(self, lost: Mapping[str, str]) -> tuple[str, ...]:
        """Of sites that did not answer in time, those that do now: they join the next attempt."""
        silent = [site for site, code in lost.items() if code == "timeout"]
        back = self._exchange.again([s for s in silent if self._comebacks[s] < COMEBACKS])
        for site in back:
            self._comebacks[site] += 1
            del self._missing[site]
            self._observe(Event(kind=Kind.BACK, site=site))
        return back

    def _lose(self, lost: Mapping[str, str]) -> None:
        for site, code in sorted(lost.items()):
            self._missing[site] = code
            self._observe(Event(kind=Kind.LOST, site=site, code=code))

    def _check_quorum(self, sites: Sequence[str]) -> None:
        quorum = self._quorum
        if len(sites) >= quorum:
            return
        reasons = listed(f"{site} ({code})" for site, code in sorted(self._missing.items()))
        raise QuorumError(
            f"{len(sites)} site(s) can take part ({listed(sites) or 'none'}); at least {quorum} "
            f"are needed.{f' Missing: {reasons}.' if reasons else ''}",
            do=about_missing(self._missing, plain=self._study.privacy.secure_sum is not True),
        )


def _resumes(progress: Progress) -> Event:
    """Where a run goes on: after a phase, or within a training."""
    if progress.log and any(name.startswith(UNFINISHED) for name in progress.shared):
        row = progress.log[-1]
        step, steps = int(row["step"]), int(row["steps"])
        return Event(kind=Kind.RESUMED, phase=str(row["phase"]), step=step, steps=steps)
    return Event(kind=Kind.RESUMED, phase=progress.done[-1] if progress.done else "")


def phases_of(done: Sequence[str]) -> list[str]:
    """The paths of a progress that are phases; turns and ends of repeats are the coordinator's."""
    return [path for path in done if not path.endswith("]") and not path.startswith("=")]

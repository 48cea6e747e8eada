"""The round loop: agree, plan, run the steps, have the sites harmonize."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from motet.config import Study
from motet.errors import DesignError, QuorumError, SchemaError, listed
from motet.flower.records import Body
from motet.phases import Phase, Repeat, Step
from motet.plan import Plan, build_plan, parse_params
from motet.releases import Arrays, violations
from motet.schema import SiteSchema, agree
from motet.server.agreement import features_digest, read_site_schema
from motet.server.checkpoint import Checkpoint, Progress
from motet.server.events import Event, Kind, Observer, unobserved
from motet.server.exchange import Exchange, Replies
from motet.strategies import check_runnable, strategy_for
from motet.version import __version__

GOODBYE = 10.0
"""Seconds to wait for sites to forget their state. One that does not keeps a file more."""


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
    """

    plan: Plan
    shared: dict[str, NDArray[Any]]
    missing: dict[str, str]


def unstored(plan: Plan, shared: Arrays) -> None:
    """Store nothing: the caller takes the outcome."""


class _SitesLostError(Exception):
    """Sites dropped out of a phase: what they gave before must not count."""

    def __init__(self, lost: Mapping[str, str]) -> None:
        self.lost = dict(lost)


class Coordinator:
    """Runs a study over a Flower grid.

    A site that fails in a phase of the plan is left out, and the run starts over without it
    (ComBat: one round more), so that the result is the pooled harmonization of the sites that
    remain, to the last bit, and never a mixture.

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
    observe : Observer
    exchange : Exchange, optional
        How to talk with the sites; default: with all nodes of the grid, as they are.
    """

    def __init__(
        self,
        grid: Grid,
        study: Study,
        *,
        quorum: int = 2,
        checkpoint: Path | None = None,
        store: Callable[[Plan, Arrays], None] = unstored,
        observe: Observer = unobserved,
        exchange: Exchange | None = None,
    ) -> None:
        self._study, self._store = study, store
        self._quorum = study.federation.quorum or quorum
        self._exchange = exchange or Exchange(
            grid, run=study.study, timeout=study.federation.timeout
        )
        self._checkpoint = Checkpoint(checkpoint)
        self._observe = observe
        self._missing: dict[str, str] = {}
        self._present: tuple[str, ...] = ()

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
            except _SitesLostError as error:
                self._lose(error.lost)
                sites = tuple(site for site in sites if site not in error.lost)
                self._check_quorum(sites)
                self._observe(Event(kind=Kind.RESTARTED))

    def finished(self) -> None:
        """Forget the checkpoint: everything has been written. The sites may forget, too."""
        self._checkpoint.remove()
        self._exchange.ask("query.close", self._present, Body(), timeout=GOODBYE)

    def _gather(self) -> tuple[str, ...]:
        replies = self._exchange.hello()
        other = {
            site: "version"
            for site, body in replies.accepted.items()
            if body.document.get("motet") != __version__
        }
        self._lose({**replies.failed, **other})
        sites = tuple(sorted(set(replies.accepted) - set(other)))
        self._check_quorum(sites)
        return sites

    def _attempt(self, sites: tuple[str, ...]) -> Outcome:
        plan = build_plan(self._study, agree(self._describe(sites)))
        check_runnable(plan)
        progress = self._prepare(plan, sites)
        runner = _Runner(self._exchange, self._checkpoint, plan, progress, self._observe)
        runner.run(plan.steps[1:])
        self._store(plan, progress.shared)
        self._observe(Event(kind=Kind.HARMONIZING))
        replies = self._exchange.ask(
            "query.finish", sites, Body(arrays=progress.shared), plan=plan.hash
        )
        self._lose(replies.failed)
        self._check_quorum(tuple(replies.accepted))
        self._present = tuple(replies.accepted)
        return Outcome(plan=plan, shared=progress.shared, missing=dict(self._missing))

    def _describe(self, sites: Sequence[str]) -> list[SiteSchema]:
        """Every site's schema. One that cannot describe its data is left out."""
        covariates = tuple(parse_params(self._study).covariates)
        described: list[SiteSchema] = []
        failed: dict[str, str] = {}
        # The first names its features; the others say by a digest that theirs are the same.
        for asked in (sites[:1], sites[1:]):
            first = described[0] if described else None
            request = {
                "study": self._study.public(),
                "same_as": "" if first is None else features_digest(first),
            }
            replies = self._exchange.ask("query.agree", asked, Body(document=request))
            failed |= replies.failed
            for site, body in replies.accepted.items():
                try:
                    described.append(read_site_schema(site, body.document, covariates, first))
                except SchemaError as error:
                    failed[site] = error.code
        if failed:
            raise _SitesLostError(failed)
        return described

    def _prepare(self, plan: Plan, sites: tuple[str, ...]) -> Progress:
        """Have the sites build the same plan; go on where an interrupted run stopped, if all can.

        A site that lost its state, or whose data changed, cannot go on from the middle: then
        everybody begins anew.
        """
        self._observe(Event(kind=Kind.PLANNED, steps=len(plan.phases)))
        progress = self._checkpoint.load(plan=plan.hash, sites=sites)
        if progress is not None and self._resumed(plan, sites, progress):
            self._observe(Event(kind=Kind.RESUMED, phase=progress.done[-1]))
            return progress
        fresh = Progress(plan=plan.hash, sites=sites)
        self._resumed(plan, sites, fresh)
        return fresh

    def _resumed(self, plan: Plan, sites: tuple[str, ...], progress: Progress) -> bool:
        document = {"schema": plan.schema.without_features(), "done": phases_of(progress.done)}
        replies = self._exchange.ask(
            "query.prepare", sites, Body(document=document), plan=plan.hash
        )
        if replies.failed:
            raise _SitesLostError(replies.failed)
        return all(
            isinstance(body.document, dict) and body.document.get("resumed") is True
            for body in replies.accepted.values()
        )

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
            do="The reason stands in each site's own log."
            if reasons
            else "A federation needs two sites or more: add one.",
        )


def phases_of(done: Sequence[str]) -> list[str]:
    """The paths of a progress that are phases; turns and ends of repeats are the coordinator's."""
    return [path for path in done if not path.endswith("]") and not path.startswith("=")]


def _check_finite(additions: Arrays, path: str) -> None:
    """Refuse a conclusion that is not a number: every site would go on with it."""
    for name, array in additions.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DesignError(
                f"The phase '{path}' came to values of '{name}' that are not finite.",
                do="Look for features with extreme values.",
            )


class _Runner:
    """Runs the steps of a plan, skipping what a resumed progress has done already."""

    def __init__(
        self,
        exchange: Exchange,
        checkpoint: Checkpoint,
        plan: Plan,
        progress: Progress,
        observe: Observer,
    ) -> None:
        self._exchange, self._checkpoint, self._plan = exchange, checkpoint, plan
        self._progress, self._observe = progress, observe
        self._count = 0

    def run(self, steps: Sequence[Step], within: str = "") -> None:
        for step in steps:
            if isinstance(step, Repeat):
                self._repeat(step, within)
            else:
                self._phase(step, within + step.name)

    def _repeat(self, repeat: Repeat, within: str) -> None:
        path = f"{within}{repeat.name}"
        for i in range(repeat.at_most):
            if f"={path}" in self._progress.done:
                return
            turn = f"{path}[{i}]"
            if turn in self._progress.done:
                continue
            self.run(repeat.steps, within=f"{turn}/")
            over = repeat.until is not None and repeat.until(self._progress.shared)
            self._done(f"={path}" if over else turn)

    def _phase(self, phase: Phase, path: str) -> None:
        self._count += 1
        if path in self._progress.done:
            return
        sizes = self._plan.sizes(self._progress.shared)
        if phase.when and not sizes[phase.when]:
            return
        self._observe(Event(kind=Kind.PHASE, phase=path, step=self._count))
        strategy = strategy_for(phase)

        def ask(phase: Phase, shared: Arrays) -> Mapping[str, Arrays]:
            return self._ask(phase, shared, path, sizes)

        additions = strategy(phase, ask, self._progress.shared)
        _check_finite(additions, path)
        self._progress.shared |= additions
        self._done(path)
        self._observe(Event(kind=Kind.DONE, phase=path, step=self._count))

    def _ask(
        self, phase: Phase, shared: Arrays, path: str, sizes: Mapping[str, int]
    ) -> Mapping[str, Arrays]:
        def check(site: str, body: Body) -> str:
            return "invalid-reply" if violations(body.arrays, phase.releases, sizes) else ""

        sites = [s for s in self._progress.sites if phase.who.site in ("", s)]
        replies: Replies = self._exchange.ask(
            "train.phase", sites, Body(arrays=shared), plan=self._plan.hash, phase=path, check=check
        )
        if replies.failed:
            raise _SitesLostError(replies.failed)
        return {site: body.arrays for site, body in replies.accepted.items()}

    def _done(self, path: str) -> None:
        self._progress.done.append(path)
        self._checkpoint.save(self._progress)

"""A plan: a study resolved into steps. It can be printed, hashed, consented to and resumed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from motet import registry
from motet.config import Study
from motet.describe import describe
from motet.errors import PlanError, StudyFileError
from motet.evaluation.steps import evaluation_steps
from motet.harmonizer import Harmonizer, Params
from motet.params import parse_params
from motet.phases import Agree, Phase, Publish, Repeat, Step, Sum, walk
from motet.plan_checks import check_bounds, check_splines, check_steps, largest_sizes
from motet.releases import Arrays, ArraySpec, Leaves, bind, nbytes
from motet.scale import Bounds
from motet.schema import Schema
from motet.secure.circle import FEWEST
from motet.secure.declared import masked_specs
from motet.secure.sealed import sealed_specs
from motet.store import json_hash
from motet.training.asked import as_asked
from motet.training.exchange import exchange_at, split_path
from motet.training.phase import Train
from motet.training.privacy import Private, document
from motet.version import __version__

TURN = re.compile(r"(?P<name>.+)\[(?P<number>0|[1-9][0-9]{0,8})\]")
OF_BATCHES = ("batches", "judged")
"""Sizes whose entries are single batches: a row of a sum is one site's."""


def of_batches(phase: Phase) -> bool:
    """Whether sums have rows of single batches, which masks do not hide: a batch is one site's."""
    return any(dim in OF_BATCHES for spec in phase.releases for dim in spec.shape)


AGREE = Agree(
    name="schema",
    equal=("features", "units", "covariates", "kinds"),
    union=("levels", "varies", "batches", "holds"),
    largest=("scale",),
)
AGREE_ON_GRID = replace(AGREE, equal=(*AGREE.equal, "grid"))
"""Where the voxels of different people are compared."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One array of one phase, with its sizes filled in as far as they are known.

    ``dtype`` is that of what is sent: of masked arrays another than the declared one.
    """

    phase: str
    spec: ArraySpec
    leaves: Leaves
    who: str
    bytes: int
    times: int
    dtype: str
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of a study, resolved for one schema.

    The hash covers the study's name, method, parameters, seed, held-out share, the common part
    of the schema, every step of fit and evaluation, and the package version. It does not cover
    local paths, who takes part, or how long to wait.

    Attributes
    ----------
    steps : tuple of Step
        The fit: agreement, then the method's own.
    evaluation : tuple of Step
        The platform's, after the sites have harmonized; unseen sites take part in them.
    unseen : tuple of str
        Sites that take no part in the fit.
    secure : bool
        Whether sums are masked: the coordinator reads what they come to over sites.
    """

    study: str
    method: str
    params: Params
    target: str
    seed: int
    held_out: float
    schema: Schema
    steps: tuple[Step, ...]
    evaluation: tuple[Step, ...] = ()
    unseen: tuple[str, ...] = ()
    secure: bool = False

    @property
    def harmonizer(self) -> Harmonizer:
        """The method whose plan this is."""
        return registry.methods().get(self.method)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the plan."""
        return json_hash(self._hashed())

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Every phase once, in order."""
        return tuple(phase for phase, _ in walk((*self.steps, *self.evaluation)))

    def takes_part(self, site: str, phase: Phase) -> bool:
        """Whether `site` is asked in a phase: an unseen one in those of the evaluation only."""
        if isinstance(phase, Publish) and phase.sealed and phase.to.site == site:
            return False  # nobody seals anything for itself
        if phase.who.site:
            return phase.who.site == site
        if phase.who.holders:
            return any(site in sites for sites in self.holders.values())
        return site not in self.unseen or self.judges(phase)

    def participants(self, phase: Phase) -> tuple[str, ...]:
        """The sites that are asked in a phase, sorted."""
        sites = {*self.schema.sites, *self.unseen}
        return tuple(sorted(site for site in sites if self.takes_part(site, phase)))

    def keeps(self, site: str, phase: Phase) -> bool:
        """Whether a phase leaves something at a site: it takes part, or is sent what is sealed."""
        sealed = isinstance(phase, Publish) and phase.sealed and phase.to.site == site
        return sealed or self.takes_part(site, phase)

    @property
    def holders(self) -> dict[str, tuple[str, ...]]:
        """Key of a traveler -> sites of the sums of this person: two or more."""
        return dict(self.schema.holders)

    @property
    def needs_keys(self) -> bool:
        """Whether sites have to know each other's public keys."""
        return self.secure or any(
            (isinstance(p, Sum) and p.key) or (isinstance(p, Publish) and p.sealed)
            for p in self.phases
        )

    def masks(self, phase: Phase) -> bool:
        """Whether what sites send in a phase is masked."""
        summed = isinstance(phase, Sum | Train) and phase.leaves in (Leaves.SUM, Leaves.UPDATE)
        return self.secure and summed

    def readers(self, phase: Phase) -> str:
        """Who can read what a site sends in a phase, and what is made of it."""
        if self.masks(phase) and getattr(phase, "read_by", "coordinator") == "coordinator":
            own = "no site's own"
            own += ", but for rows of single batches" if of_batches(phase) else ""
            made = "all sites read what is concluded from it"
            made = phase.concluded("it") if isinstance(phase, Sum) else made
            return f"the coordinator reads the sum over sites, and {own}; {made}"
        return phase.readers

    def bounds(self, phase: Phase, shared: Arrays) -> Bounds:
        """What no site's entry exceeds, by array; where none is given, the declared one holds."""
        if not isinstance(phase, Sum) or phase.bounds is None:
            return {}
        return phase.bounds(self.schema.magnitudes, shared)

    def judges(self, phase: Phase) -> bool:
        """Whether a phase belongs to the evaluation."""
        return any(phase is other for other, _ in walk(self.evaluation))

    def train_at(self, path: str) -> Train:
        """The training that a path names."""
        name = path.rpartition("/")[2]
        return next(p for p in self.phases if isinstance(p, Train) and p.name == name)

    def phase_at(self, path: str) -> Phase:
        """The phase that a path such as ``refine[2]/gram`` names, within what was consented to.

        Raises
        ------
        PlanError
            When the plan has no such phase, or does not repeat it that often.
        """
        *turns, name = path.split("/")
        steps: Sequence[Step] = (*self.steps, *self.evaluation)
        for turn in turns:
            repeat, number = _parse_turn(turn)
            found = [s for s in steps if isinstance(s, Repeat) and s.name == repeat]
            if not found or number >= found[0].at_most:
                raise PlanError(f"The plan has no turn '{turn}' in '{path}'.")
            steps = found[0].steps
        of_training = split_path(name)
        for step in steps:
            if isinstance(step, Train) and of_training and of_training[0] == step.name:
                return exchange_at(step, of_training[1], closing=of_training[2])
            if isinstance(step, Phase) and step.name == name and not isinstance(step, Train):
                return step
        raise PlanError(f"The plan has no phase '{path}'.")

    def sizes(self, shared: Arrays) -> dict[str, int]:
        """The public sizes, with those that the shared model has settled by now."""
        sizes = dict(self.schema.sizes)
        for phase in self.phases:
            for size in phase.sets if isinstance(phase, Sum) else ():
                if size.name in shared:
                    sizes[size.name] = len(shared[size.name])
                    if sizes[size.name] > bind((size.at_most,), sizes)[0]:
                        raise PlanError(
                            f"The size '{size.name}' became {sizes[size.name]}, more than the "
                            f"{size.at_most} that the plan was approved for."
                        )
        return sizes

    def _hashed(self) -> dict[str, Any]:
        return {
            "motet": __version__,
            "study": self.study,
            "method": self.method,
            "params": self.params.model_dump(mode="json"),
            "target": self.target,
            "seed": self.seed,
            "held_out": self.held_out,
            "secure_sum": self.secure,
            "schema": self.schema.digest,
            "steps": [describe(step) for step in self.steps],
            "evaluation": [describe(step) for step in self.evaluation],
        }

    @property
    def privacy(self) -> dict[str, Any] | None:
        """What differential privacy covers, and what it does not; None: it covers nothing."""
        return document(self.phases)

    @property
    def private(self) -> tuple[Private, ...]:
        """What is asked of the trainings that noise covers."""
        asked = (p.private for p in self.phases if isinstance(p, Train))
        return tuple(one for one in asked if one is not None)

    def to_json(self) -> dict[str, Any]:
        """The content of ``plan.json``."""
        return {
            "hash": self.hash,
            **self._hashed(),
            "schema": {"sha256": self.schema.digest, **self.schema.to_json()},
            **({"privacy": self.privacy} if self.privacy else {}),
            "trained": {
                phase.name: [{"name": s.name, "meaning": s.meaning} for s in phase.releases]
                for phase in self.phases
                if isinstance(phase, Train)
            },
            "trainings": {
                phase.name: {**phase.options.model_dump(mode="json"), "warm_up": phase.warm_up}
                for phase in self.phases
                if isinstance(phase, Train)
            },
            "groups": {
                phase.name: [
                    {"name": g.name, "keeper": g.keeper, "summed": g.summed, "every": g.every}
                    for g in phase.groups
                ]
                for phase in self.phases
                if isinstance(phase, Train)
            },
            "readers": {
                phase.name: self.readers(phase)
                for phase, _ in walk((*self.steps, *self.evaluation))
                if phase.releases or phase.readers
            },
        }

    def releases(self) -> Iterator[Release]:
        """Every array that would leave each site, with the largest size it may have."""
        sizes = dict(self.schema.sizes)
        for phase, times in walk((*self.steps, *self.evaluation)):
            for spec in phase.releases:
                sent = self._sent(phase, spec, sizes)
                yield Release(
                    phase=phase.name,
                    spec=spec,
                    leaves=phase.leaves or Leaves.SUM,
                    who=str(phase.who),
                    bytes=nbytes(sent, sizes),
                    times=times * phase.times(spec.name),
                    dtype=sent.dtype,
                    key=phase.key if isinstance(phase, Sum) else "",
                )
            sizes |= largest_sizes(phase, sizes)

    def _sent(self, phase: Phase, spec: ArraySpec, sizes: Mapping[str, int]) -> ArraySpec:
        """An array as it is on its way: behind masks, sealed, or as it is."""
        if self.masks(phase) or (isinstance(phase, Sum) and phase.read_by == "holders"):
            return masked_specs((spec,))[0]
        if isinstance(phase, Publish) and phase.sealed:
            return sealed_specs((spec,), sizes)[0]
        return spec


def _parse_turn(turn: str) -> tuple[str, int]:
    """``refine[2]`` -> ``("refine", 2)``."""
    match = TURN.fullmatch(turn)
    if match is None:
        raise PlanError(f"'{turn}' is not a turn of a repeat.")
    return match["name"], int(match["number"])


def build_plan(study: Study, schema: Schema) -> Plan:
    """Resolve a study into steps for an agreed schema.

    Every plan begins with the agreement on the schema, which the platform adds.
    """
    params = parse_params(study)
    check_splines(params, schema)
    harmonizer = registry.methods().get(study.method)
    secure = _secure(study, schema)
    asked = study.evaluation.by_batch
    by_batch = not secure if asked is None else asked
    plan = Plan(
        study=study.study,
        method=study.method,
        params=params,
        target=study.target,
        seed=study.seed,
        held_out=study.evaluation.held_out,
        schema=schema,
        steps=(
            AGREE_ON_GRID if schema.grid else AGREE,
            *as_asked(harmonizer.plan(params, schema), study, secure=secure),
        ),
        evaluation=tuple(
            evaluation_steps(schema, study.evaluation, seed=study.seed, by_batch=by_batch)
        ),
        unseen=study.evaluation.unseen,
        secure=secure,
    )
    check_steps((*plan.steps, *plan.evaluation), schema)
    check_bounds([p for p in plan.phases if plan.masks(p)], method=plan.method)
    return plan


def _secure(study: Study, schema: Schema) -> bool:
    """Whether sums are masked: where nobody says otherwise, from three sites on."""
    asked, enough = study.privacy.secure_sum, len(schema.sites) >= FEWEST
    if asked and not enough:
        raise StudyFileError(
            f"Secure sums need {FEWEST} sites in the fit; there are {len(schema.sites)}: of two, "
            "each could subtract itself.",
            do="Wait for a third site, or take 'secure_sum: true' out.",
            key="privacy.secure_sum",
        )
    return enough and asked is not False


def model_document(plan: Plan) -> dict[str, Any]:
    """What a shared model belongs to; its content hash covers this."""
    return {
        "kind": "shared",
        "study": plan.study,
        "method": plan.method,
        "params": plan.params.model_dump(mode="json"),
        "seed": plan.seed,
        "plan": plan.hash,
        "schema": plan.schema.of_the_fit.to_json(),
    }


def biology(study: Study) -> tuple[str, ...]:
    """The columns that a study reads beside the method's covariates."""
    covariates = parse_params(study).covariates
    return tuple(name for name in dict.fromkeys(study.evaluation.biology) if name not in covariates)

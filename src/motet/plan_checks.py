"""What a plan is refused for: steps that could not be run, described, summed or consented to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from motet.describe import describe
from motet.errors import PlanError
from motet.harmonizer import Params
from motet.phases import Phase, Publish, Repeat, Step, Sum, walk
from motet.releases import bind
from motet.schema import Schema
from motet.spline import Spline


def check_steps(steps: Sequence[Step], schema: Schema) -> None:
    """Refuse steps that could not be run, described or consented to."""
    for step in steps:
        describe(step)
    sizes = dict(schema.sizes)
    known_sizes: set[str] = set()
    names: set[str] = set()
    _check_repeats(steps)
    for phase, _ in walk(steps):
        if phase.name in names:
            raise PlanError(f"Two phases are called '{phase.name}'.")
        names.add(phase.name)
        if phase.when and phase.when not in known_sizes:
            raise PlanError(f"Phase '{phase.name}' waits for the unknown size '{phase.when}'.")
        if phase.who.site and phase.who.site not in schema.sites:
            raise PlanError(f"Phase '{phase.name}' names the unknown site '{phase.who.site}'.")
        if isinstance(phase, Publish):
            _check_published(phase, schema)
        if isinstance(phase, Sum) and phase.key and phase.who.holders != phase.key:
            raise PlanError(f"Phase '{phase.name}' sums by {phase.key}: its sites are the holders.")
        if isinstance(phase, Sum) and phase.read_by == "holders" and (not phase.key or phase.sets):
            raise PlanError(f"Phase '{phase.name}' is read by holders: it has a key, sets no size.")
        if isinstance(phase, Sum) and phase.stays_at and (phase.read_by == "holders" or phase.sets):
            raise PlanError(
                f"Phase '{phase.name}' tells sites nothing: nobody holds it, and it sets no size."
            )
        if len({spec.name for spec in phase.releases}) < len(phase.releases):
            raise PlanError(f"Phase '{phase.name}' declares one array twice.")
        for spec in phase.releases:
            bind(spec.shape, sizes)
        new = largest_sizes(phase, sizes)
        sizes |= new
        known_sizes |= set(new)


def _check_repeats(steps: Sequence[Step]) -> None:
    """Two repeats of one name side by side would share their turns in a checkpoint."""
    repeats = [step for step in steps if isinstance(step, Repeat)]
    if len({step.name for step in repeats}) < len(repeats):
        raise PlanError("Two repeats have one name.")
    for step in repeats:
        _check_repeats(step.steps)


def _check_published(phase: Publish, schema: Schema) -> None:
    if phase.to.site and phase.to.site not in schema.sites:
        raise PlanError(f"Phase '{phase.name}' names the unknown site '{phase.to.site}'.")
    if phase.sealed and phase.at_coordinator:
        raise PlanError(f"Phase '{phase.name}' is sealed: the coordinator cannot read it.")
    if phase.sealed and not phase.to.site:
        raise PlanError(f"Phase '{phase.name}' is sealed, but to no site.")
    if phase.sealed and phase.who.site == phase.to.site:
        raise PlanError(f"Phase '{phase.name}' is sealed by its recipient.")


def check_splines(params: Params, schema: Schema) -> None:
    """Refuse a schema whose splines are others than the study's: people approve the study."""
    for covariate in schema.covariates:
        asked = params.covariates.get(covariate.name)
        if covariate.spline != (asked if isinstance(asked, Spline) else None):
            raise PlanError(
                f"The sites did not agree on the spline of '{covariate.name}' that the study has.",
                do="Use the same version of Motet everywhere.",
            )


def check_bounds(phases: Iterable[Phase], *, method: str) -> None:
    """Refuse a method that does not say how large its sums can become, of phases that are masked.

    Raises
    ------
    PlanError
    """
    for phase in phases:
        if not isinstance(phase, Sum) or phase.bounds is not None:
            continue
        if wide := [spec.name for spec in phase.arrays if spec.dtype.startswith("float")]:
            raise PlanError(
                f"The phase '{phase.name}' of '{method}' does not bound "
                f"{', '.join(wide)}, so it cannot be summed where nobody reads single sites.",
                do="Give the phase 'bounds', or set privacy: {secure_sum: false}.",
            )


def largest_sizes(phase: Phase, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes that `phase` sets, at the maximum consent is given to."""
    if not isinstance(phase, Sum):
        return {}
    return {size.name: bind((size.at_most,), sizes)[0] for size in phase.sets}

"""Which strategy runs which phase."""

from __future__ import annotations

from motet.errors import DesignError, PlanError
from motet.phases import Agree, Local, Phase, Publish, Sum, walk
from motet.plan import Plan
from motet.strategies.exact import exact
from motet.strategies.fedadam import fedadam
from motet.strategies.fedavg import fedavg
from motet.strategies.fedprox import fedprox
from motet.strategies.keyed_sum import keyed_sum
from motet.strategies.local import local
from motet.strategies.plain_sum import plain_sum
from motet.strategies.publish import publish
from motet.strategies.rounds import Strategy
from motet.strategies.scaffold import scaffold
from motet.strategies.sealed_publish import sealed_publish
from motet.strategies.secure_sum import secure_sum
from motet.training.phase import Train

STRATEGIES: dict[type[Phase], Strategy] = {Local: local, Publish: publish, Sum: plain_sum}
TRAINED: dict[str, Strategy] = {
    "fedavg": fedavg,
    "fedprox": fedprox,
    "fedadam": fedadam,
    "scaffold": scaffold,
}


def strategy_for(phase: Phase, plan: Plan) -> Strategy:
    """The strategy of a phase, by its kind and by who may read what it sums."""
    if isinstance(phase, Train):
        return exact if phase.options.mode == "exact" else TRAINED[phase.options.server]
    if isinstance(phase, Sum) and phase.read_by == "holders":
        return keyed_sum
    if isinstance(phase, Publish) and phase.sealed:
        return sealed_publish
    return secure_sum if plan.masks(phase) else STRATEGIES[type(phase)]


def check_runnable(plan: Plan) -> None:
    """Refuse, before anything leaves, a plan with a kind of phase that this version cannot run.

    Raises
    ------
    PlanError
        Names the phase and what it asks for.
    """
    for phase, times in walk((*plan.steps, *plan.evaluation)):
        asks = ""
        if isinstance(phase, Train) and times > 1:
            # A second training would go on with the networks and samples of the first.
            asks = "a training that is repeated"
        elif isinstance(phase, Agree):
            asks = "" if phase is plan.steps[0] else "a second agreement"
        elif type(phase) not in (*STRATEGIES, Train):
            asks = f"a {type(phase).__name__} phase"
        elif isinstance(phase, Sum) and phase.key and phase.read_by == "holders":
            if not plan.holders:
                raise DesignError(
                    f"'{plan.method}' sums over the sites that scanned a traveler, and none was "
                    "scanned at two of these sites.",
                    do="Name travelers whom two sites scanned, who consented there "
                    "(travelers.tsv).",
                )
        elif phase.who.having or phase.who.holders:
            asks = f"a choice of sites by '{phase.who}'"
        elif (phase.on != "fit" or phase.reads != "raw") and not plan.judges(phase):
            asks = f"{phase.on} people and {phase.reads} values"
        elif isinstance(phase, Sum) and (phase.key or phase.read_by == "holders"):
            asks = "a keyed sum that the coordinator reads, or holders without a key"
        if asks:
            raise PlanError(
                f"The phase '{phase.name}' of '{plan.method}' needs {asks}, which this version "
                "can plan but not run."
            )

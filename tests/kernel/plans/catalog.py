"""All declared plans for one small schema. Run as a module it prints their hashes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kernel.plans.calamiti import Calamiti
from kernel.plans.mica import Mica
from kernel.plans.mispel_b import MispelB
from kernel.plans.murd import Murd
from kernel.plans.ravel import Ravel
from motet.harmonizer import Harmonizer
from motet.phases import Step
from motet.plan import AGREE, Plan
from motet.schema import Batch, Covariate, Schema
from motet.training.phase import Train

METHODS: dict[str, Harmonizer] = {
    method.name: method for method in (Ravel(), Calamiti(), Murd(), MispelB(), Mica())
}
PARAMS: dict[str, dict[str, Any]] = {"mica": {"to": "b", "source": "a"}}
SCHEMA = Schema(
    features=("thickness", "volume"),
    units=("mm", "mm3"),
    covariates=(
        Covariate(name="age", kind="continuous"),
        Covariate(name="sex", kind="categorical", levels=("F", "M")),
    ),
    batches=(Batch("a", "a"), Batch("b", "b"), Batch("c", "c")),
)


def plan_of(name: str, **params: Any) -> Plan:
    """The plan of a method for these options."""
    method = METHODS[name]
    options = method.params_type(**(PARAMS.get(name, {}) | params))
    return Plan(
        study="vocabulary",
        method=name,
        params=options,
        target="pooled",
        seed=1,
        held_out=0.2,
        schema=SCHEMA,
        steps=(AGREE, *method.plan(options, SCHEMA)),
    )


def with_steps(name: str, steps: Sequence[Step]) -> Plan:
    """The plan of a method with other steps."""
    return replace(plan_of(name), steps=tuple(steps))


def trains(name: str) -> list[Train]:
    """The trainings of a method."""
    return [phase for phase in plan_of(name).phases if isinstance(phase, Train)]


if __name__ == "__main__":
    print(json.dumps({name: plan_of(name).hash for name in METHODS}))

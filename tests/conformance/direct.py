"""A plan run by calling the method's own functions: no Flower, no coordinator, no gate.

Written from the definition of the steps, so that the platform can be compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.cases import Case
from motet.agreement import agree
from motet.bids.table import Table
from motet.client.local_site import LocalSite
from motet.harmonizer import SiteModel
from motet.phases import Local, Phase, Publish, Repeat, Step, Sum, without_untold
from motet.plan import Plan, build_plan, model_document
from motet.store import content_hash
from motet.strategies import strategy_for
from motet.strategies.in_place import InPlace
from motet.training.phase import Train

Sent = list[tuple[str, str, dict[str, np.ndarray]]]


@dataclass(kw_only=True)
class Direct:
    """What a direct call came to; `values` are in the order of the case's rows."""

    plan: Plan
    shared: dict[str, np.ndarray] = field(default_factory=dict)
    models: dict[str, SiteModel] = field(default_factory=dict)
    values: np.ndarray = field(default_factory=lambda: np.empty(0))
    warnings: list[tuple[str, str]] = field(default_factory=list)
    sent: Sent = field(default_factory=list)

    @property
    def sha256(self) -> str:
        return content_hash(self.shared, model_document(self.plan))


def direct(case: Case, tables: Mapping[str, Table]) -> Direct:
    """Fit and harmonize a case whose rows are spread over `tables`; one site is enough."""
    schema = agree([table.described for table in tables.values()])
    plan = build_plan(case.study, schema)
    result = Direct(plan=plan, values=np.full_like(case.values, np.nan))
    sites = {
        name: LocalSite(
            name=name,
            schema=schema,
            data=table,
            seed=case.seed,
            say=lambda sentence, name=name: result.warnings.append((name, sentence)),
        )
        for name, table in tables.items()
    }
    _steps(plan.steps[1:], sites, result)
    result.shared = without_untold(result.shared)
    method = plan.harmonizer
    for name, site in sites.items():
        model = result.models[name] = method.site_model(plan.params, site, result.shared)
        for rows, block in method.apply(plan.params, tables[name], model, result.shared, schema):
            result.values[tables[name].rows[rows]] = block
    return result


def _steps(steps: Sequence[Step], sites: dict[str, LocalSite], result: Direct) -> None:
    for step in steps:
        if isinstance(step, Repeat):
            for _ in range(step.at_most):
                _steps(step.steps, sites, result)
                if step.until is not None and step.until(result.shared):
                    break
        elif not step.when or len(result.shared[step.when]):
            result.shared |= _phase(step, sites, result)


def _phase(phase: Phase, sites: dict[str, LocalSite], result: Direct) -> Mapping[str, Any]:
    chosen = sorted(name for name in sites if phase.who.site in ("", name))
    if isinstance(phase, Train):
        result.sent += [(phase.name, name, {}) for name in chosen]
        ask = InPlace(
            sites={s: sites[s] for s in chosen},
            sizes=sites[chosen[0]].schema.sizes,
            seed=result.plan.seed,
        )
        return strategy_for(phase, result.plan)(phase, ask, result.shared)
    if isinstance(phase, Local):
        for name in chosen:
            phase.at_site(sites[name], result.shared)
        return {}
    assert isinstance(phase, Sum | Publish), f"teach direct() what a {type(phase)} is"
    replies = {name: dict(phase.at_site(sites[name], result.shared)) for name in chosen}
    result.sent += [(phase.name, name, arrays) for name, arrays in replies.items()]
    if isinstance(phase, Publish):
        published = {
            f"{s}/{name}": a for s, arrays in replies.items() for name, a in arrays.items()
        }
        conclude = phase.at_coordinator
        return published if conclude is None else conclude(published, result.shared)
    sums: dict[str, Any] = {}
    for name in chosen:
        for array, value in replies[name].items():
            sums[array] = sums[array] + value if array in sums else value
    return phase.conclude(sums, result.shared)


def _names(replies: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(site, name) for site, arrays in replies.items() for name in arrays]

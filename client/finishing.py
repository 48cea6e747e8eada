"""What a site does at the end of a fit: its own model, everybody harmonized. Nothing leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.apply import check_features, harmonized, joined
from motet.client.below_zero import BelowZero
from motet.client.judging import judged_site
from motet.client.local_site import LocalSite
from motet.client.planned import Planned
from motet.client.targets import write_targets
from motet.harmonizer import SiteModel
from motet.images.images import compared_in
from motet.plan import model_document
from motet.releases import Arrays
from motet.store import content_hash, save_model

Say = Callable[[str], None]


class Writer(Protocol):
    """Takes harmonized values, some people at a time."""

    def write(self, rows: slice | NDArray[np.intp], block: NDArray[Any]) -> None:
        """Take (r, p) values of some people."""
        ...


Sink = Callable[[Table, Mapping[str, Any]], AbstractContextManager[Writer]]
"""``(table, description) -> writer`` for the people of a table."""


def own_model(run: Planned, shared: Arrays, say: Say) -> SiteModel:
    """The site's model; of an unseen site from its people alone, the shared model frozen."""
    method, plan = run.plan.harmonizer, run.plan
    if run.site.name not in plan.unseen:
        return method.site_model(plan.params, run.site, shared)
    check_features(run.table, plan.schema)
    return joined(
        run.table,
        method=method,
        params=plan.params,
        schema=plan.schema,
        shared=shared,
        seed=plan.seed,
        say=say,
    )


def judging(run: Planned, shared: Arrays, model: SiteModel, say: Say) -> LocalSite:
    """The site as phases of the evaluation see it. What these keep is gone with it."""
    return judged_site(run.table, fit=run.fit, plan=run.plan, shared=shared, model=model, say=say)


def write_harmonized(
    run: Planned,
    shared: Arrays,
    model: SiteModel,
    *,
    folder: Path | None,
    sink: Sink,
    say: Say,
) -> None:
    """Write the site's model into `folder`, and everybody's harmonized values where they go.

    Beside the folder: what one person looks like at every target, for the site's page.
    """
    plan = run.plan
    description: dict[str, Any] = {"method": plan.method, "study": plan.study, "plan": plan.hash}
    if plan.params.target:
        description["target"] = plan.params.target
    if folder is not None:
        description["model"] = content_hash(shared, model_document(plan))
        save_model(
            folder,
            model.arrays,
            {**description, "site": run.site.name, "batches": list(model.batches)},
        )
    blocks = harmonized(
        run.table,
        method=plan.harmonizer,
        params=plan.params,
        schema=plan.schema,
        shared=shared,
        model=model,
        seed=plan.seed,
        say=say,
    )
    with sink(compared_in(run.table, shared), description) as writer:
        for rows, block in BelowZero(run.table).watched(blocks, say):
            writer.write(rows, block)
    if folder is not None:
        write_targets(
            folder.parent,
            run.table,
            method=plan.harmonizer,
            params=plan.params,
            schema=plan.schema,
            shared=shared,
            model=model,
        )

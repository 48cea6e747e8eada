"""What one site of a study sends under its own policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conformance.cases import Case
from conformance.direct import direct
from motet.bids.table import Table
from motet.client.local_site import silent
from motet.client.policy import SitePolicy
from motet.client.worker import SiteWorker

DEFAULT = SitePolicy(plain_sums=True)
SECRET = b"the site's own"


def worker_of(table: Table, folder: Path, policy: SitePolicy = DEFAULT) -> SiteWorker:
    """The side of the site that a table is of."""
    return SiteWorker(
        name=table.site,
        open_table=lambda params, **asked: table,
        sink=None,  # type: ignore[arg-type]
        folder=folder,
        policy=policy,
        secret=SECRET,
        say=silent,
    )


def sums_of(
    study: Case, folder: Path, *, policy: SitePolicy, site: str = "site-b0", drop: int | None = None
) -> Mapping[str, Any]:
    """What the first sum of a ComBat study holds of one site; one of its people may be absent."""
    tables = dict(study.tables())
    if drop is not None:
        kept = np.arange(len(tables[site])) != drop
        tables[site] = tables[site].where(kept)
    fit = direct(study, tables)
    worker = worker_of(tables[site], folder, policy)
    worker.agree({"study": study.study.public()})
    worker.prepare({"schema": fit.plan.schema.to_json(), "done": []}, fit.plan.hash)
    return worker.phase("moments", {}, fit.plan.hash)

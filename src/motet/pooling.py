"""Everybody of a simulated study in one table, as of one site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizer import Params
from motet.schema import Batch, Schema


def pool(tables: Mapping[str, Table]) -> Table:
    """One table of all sites' people; a batch is called as the study calls it."""
    parts = list(tables.values())
    return replace(
        parts[0],
        site="pooled",
        people=np.concatenate([_by_key(part) for part in parts]),
        travelers={key: key for part in parts for key in part.travelers},
        consented=frozenset(key for part in parts for key in part.consented),
        sessions=None,
        covariates=pd.concat([part.covariates for part in parts], ignore_index=True),
        batch=np.array(
            [str(Batch(site, name)) for site, part in tables.items() for name in part.batch]
        ),
        source=None,
        form="memory",
        participants=pd.DataFrame(),
        **parts[0].joined(parts),
    )


def _by_key(part: Table) -> NDArray[Any]:
    """The people of a site, travelers by the key that all sites have for them."""
    key = {person: key for key, person in part.travelers.items()}
    return np.array([key.get(person, person) for person in part.people.tolist()], dtype=np.str_)


def in_pool(params: Params, schema: Schema) -> Params:
    """Batches that parameters name, to bring others to, by the names that the pooled table has."""

    def named(asked: str) -> str:
        exact = [batch for batch in schema.batches if asked == str(batch)]
        found = exact or [b for b in schema.batches if asked in (b.name, b.site)]
        return str(found[0])

    changed: dict[str, Any] = {
        field: named(asked)
        for field in ("reference", "to")
        if (asked := getattr(params, field, None)) is not None
    }
    if targets := getattr(params, "targets", ()):
        changed["targets"] = tuple(map(named, targets))
    return params.model_copy(update=changed)

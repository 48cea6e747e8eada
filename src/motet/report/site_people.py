"""The people of one site in tables, with their ids: for the page that stays there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.report.site_numbers import Changes
from motet.report.words import fixed, number, percent
from motet.report.worst import largest

NOTEWORTHY = 0.02
"""Share of features far out from which a person is listed."""


@dataclass(frozen=True, kw_only=True)
class PeopleTables:
    """Header and rows of the tables of a site page."""

    header: tuple[str, ...]
    batches: tuple[tuple[str, ...], ...]
    changed: tuple[tuple[str, ...], ...]
    far_out: tuple[tuple[str, ...], ...]


def people_tables(raw: Table, fit: NDArray[np.bool_], found: Changes) -> PeopleTables:
    """Batches with their people; who changed most; who lies far out."""
    columns = list(raw.covariates.columns)
    others = "held out" if fit.any() else "unseen"
    used = ["fit" if inside else others for inside in fit.tolist()]
    return PeopleTables(
        header=("batch", "rows", "people", "in the fit", others, *map(str, columns)),
        batches=tuple(_batches(raw, fit)),
        changed=tuple(
            (raw.who(i), str(raw.batch[i]), used[i], f"{fixed(found.of_person[i])} sd")
            for i in largest(found.of_person)
        ),
        far_out=tuple(
            (raw.who(i), str(raw.batch[i]), used[i], percent(found.far_out[i]))
            for i in largest(found.far_out)
            if found.far_out[i] >= NOTEWORTHY
        ),
    )


def _batches(raw: Table, fit: NDArray[np.bool_]) -> Iterator[tuple[str, ...]]:
    for name in raw.batches:
        rows = raw.batch == name
        yield (
            name,
            str(int(rows.sum())),
            str(len(set(raw.people[rows].tolist()))),
            str(int((rows & fit).sum())),
            str(int((rows & ~fit).sum())),
            *(_column(raw.covariates[column][rows]) for column in raw.covariates.columns),
        )


def _column(values: pd.Series) -> str:
    """``41.2 ± 12.0 (18 to 70)`` of numbers, ``F: 12, M: 9`` of categories."""
    seen = values.dropna()
    if not len(seen):
        return "–"
    if pd.api.types.is_numeric_dtype(values):
        spread = f" ± {number(float(seen.std()))}" if len(seen) > 1 else ""
        return (
            f"{number(float(seen.mean()))}{spread} ({number(float(seen.min()))} to "
            f"{number(float(seen.max()))})"
        )
    counts = seen.astype(str).value_counts()
    return ", ".join(f"{level}: {counts[level]}" for level in sorted(counts.index))

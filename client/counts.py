"""The counts of people that stand behind a release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizers._linear.design import design_matrix
from motet.schema import Schema


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Who is behind the sums of a group of people.

    Attributes
    ----------
    group : str
        ``fit`` or ``held out``.
    people : int
        Persons, not rows.
    cells : mapping of (str, str) to int
        Persons with a level of a categorical covariate or column of biology.
    leverage : float
        The largest of a person, in the design of the site's batches and covariates: 1 where the
        sums of a column are that person's alone.
    """

    group: str
    people: int
    cells: Mapping[tuple[str, str], int]
    leverage: float


def counts(table: Table, schema: Schema, *, group: str) -> Counts:
    """Count the people of a table.

    Parameters
    ----------
    table : Table
    schema : Schema
        Of the study; columns of biology count as covariates do.
    group : str
    """
    whole = schema.with_biology
    cells = {
        (covariate.name, level): _persons(
            table, table.covariates[covariate.name].to_numpy() == level
        )
        for covariate in whole.covariates
        for level in covariate.levels
    }
    return Counts(
        group=group,
        people=_persons(table, np.ones(len(table), dtype=bool)),
        cells=cells,
        leverage=_leverage(table, whole),
    )


def _persons(table: Table, rows: NDArray[np.bool_]) -> int:
    return len(set(table.people[rows].tolist()))


def _leverage(table: Table, schema: Schema) -> float:
    """Diagonal of ``X (X'X)^+ X'``, summed over the rows of a person."""
    if not len(table):
        return 0.0
    batches = table.batch[:, None] == np.array(table.batches, dtype=object)[None, :]
    X = np.hstack([batches.astype(np.float64), design_matrix(table, schema)])
    # Columns of like size: the rank is that of the design, not of its units.
    size = np.abs(X).max(axis=0)
    U, values, _ = np.linalg.svd(X[:, size > 0] / size[size > 0], full_matrices=False)
    h = np.square(U[:, values > 1e-10 * values[0]]).sum(axis=1)
    _, person = np.unique(table.people.astype(str), return_inverse=True)
    return float(np.bincount(person, weights=h).max())

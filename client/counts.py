"""The counts of people that stand behind a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.spline_support import effective_people, least_supported
from motet.harmonizers._linear.design import design_matrix
from motet.schema import Schema

Bool = NDArray[np.bool_]
CHUNK = 4096

Knots = Mapping[str, Sequence[float]]
"""Covariate -> knots and bounds of splines that sums were made with."""
NONE: Knots = {}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Who is behind the sums of a group of people.

    Attributes
    ----------
    group : str
        ``fit``, ``held out`` …
    people : int
        Persons, not rows.
    cells : mapping of (str, str) to int
        Persons with a level of a categorical covariate or column of biology, and of every batch.
    basis : mapping of (str, str) to float
        Persons in effect behind each function of least support of a spline: covariate, where.
    leverage : float
        The largest of a person, in the design of the site's batches and covariates: 1 where the
        sums of a column are that person's alone.
    observed, missing : int or None
        The fewest persons who have, and who lack, a value of a feature that somebody lacks; None
        where nobody lacks any, or where no sum is of such features alone.
    """

    group: str
    people: int
    cells: Mapping[tuple[str, str], int]
    leverage: float
    observed: int | None = None
    missing: int | None = None
    basis: Mapping[tuple[str, str], float] = field(default_factory=dict)


def counts(
    table: Table, schema: Schema, *, group: str, by_feature: bool = False, earlier: Knots = NONE
) -> Counts:
    """Count the people of a table.

    Parameters
    ----------
    table : Table
    schema : Schema
        Of the study; columns of biology count as covariates do.
    group : str
    by_feature : bool
        Count who has a value of every feature, too: some sums are of these people alone.
    earlier : Knots
        Sums with splines of other knots make up sums with splines of all these knots.
    """
    whole = schema.with_biology
    cells = {
        (covariate.name, level): _persons(
            table, table.covariates[covariate.name].to_numpy() == level
        )
        for covariate in whole.covariates
        for level in covariate.levels
    }
    cells |= {("batch", name): _persons(table, table.batch == name) for name in table.batches}
    found = Counts(
        group=group,
        people=_persons(table, np.ones(len(table), dtype=bool)),
        cells=cells,
        leverage=_leverage(table, whole),
        basis=_basis(table, whole, earlier),
    )
    return _by_feature(table, found) if by_feature else found


def groups(
    table: Table,
    schema: Schema,
    masks: Mapping[str, Bool],
    *,
    by_feature: bool = False,
    earlier: Knots = NONE,
) -> list[Counts]:
    """Counts of the parts into which masks of rows cut a table.

    Sums over two groups give the sum over their difference, so every part has to be large enough:
    those in one mask and not in another, too.

    Parameters
    ----------
    masks : mapping of str to (n,) bool
        Name of a group -> its rows.
    by_feature, earlier
        As in :func:`counts`.
    """
    if not masks:
        return []
    names = list(masks)
    inside = np.stack([masks[name] for name in names])
    found = []
    for part in np.unique(inside.T, axis=0):
        rows = (part == inside.T).all(axis=1)
        of = [name for name, member in zip(names, part, strict=True) if member]
        if of:
            found.append(
                counts(
                    table.where(rows),
                    schema,
                    group=" and ".join(of),
                    by_feature=by_feature,
                    earlier=earlier,
                )
            )
    return found


def _persons(table: Table, rows: Bool) -> int:
    return len(set(table.people[rows].tolist()))


def _basis(table: Table, schema: Schema, earlier: Knots) -> dict[tuple[str, str], float]:
    """Persons in effect behind the splines, with knots of before among theirs."""
    _, person = np.unique(table.people.astype(str), return_inverse=True)
    found = {}
    for covariate in schema.covariates:
        if covariate.spline is None:
            continue
        knots = np.union1d(covariate.spline.every_knot, earlier.get(covariate.name, ()))
        x = table.covariates[covariate.name].to_numpy(dtype=np.float64)
        for where, weights in least_supported(knots, x):
            found[covariate.name, where] = effective_people(weights, person)
    return found


def _by_feature(table: Table, found: Counts) -> Counts:
    """With the fewest persons who have and who lack a value of an incomplete feature."""
    observed, missing = [], []
    for start in range(0, len(table.features), CHUNK):
        known = np.isfinite(table.block(slice(start, min(start + CHUNK, len(table.features)))))
        for column in known.T[~known.all(axis=0)]:
            observed.append(_persons(table, column))
            missing.append(_persons(table, ~column))
    some = [n for n in observed if n]
    return replace(
        found,
        observed=min(some, default=None),
        missing=min(missing, default=None),
    )


def _leverage(table: Table, schema: Schema) -> float:
    """Diagonal of ``X (X'X)^+ X'``, summed over the rows of a person."""
    if not len(table):
        return 0.0
    member = table.batch[:, None] == np.array(table.batches, dtype=object)[None, :]
    B = member.astype(np.float64)
    n = B.sum(axis=0)
    W = design_matrix(table, schema)
    # Centred within batch, of like size: neither an offset nor a unit hides a column of one person.
    W = W - B @ (B.T @ W / n[:, None])
    size = np.abs(W).max(axis=0, initial=0.0)
    h = B @ (1.0 / n)
    used = size > 1e-13 * np.abs(design_matrix(table, schema)).max(axis=0, initial=0.0)
    if used.any():
        U, values, _ = np.linalg.svd(W[:, used] / size[used], full_matrices=False)
        h = h + np.square(U[:, values > 1e-10 * values[0]]).sum(axis=1)
    _, person = np.unique(table.people.astype(str), return_inverse=True)
    return float(np.bincount(person, weights=h).max())

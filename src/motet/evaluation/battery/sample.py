"""Everybody of a simulated study in one place, in an order that no site decides.

Rows are sorted by person, session and batch name, and batches are numbered by their first row: so
every draw and every sum is the same whichever way the batches lie at sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.evaluation.battery.travelers import Link, same_people
from motet.harmonizers._linear.design import design_matrix
from motet.plan import Plan
from motet.schema import Batch, Covariate

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Int = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The people of a study, n rows, without their measures.

    Attributes
    ----------
    names : (n,) array of str
        ``participant_id``.
    person : (n,) int
        Number of the person; the rows of one traveler share it.
    batch : (n,) int
        Number of the (site, batch).
    batches : tuple of str
        How each batch is called.
    fit, unseen : (n,) bool
        Who was in the fit; whose site took no part in it.
    covariates : tuple of Covariate
        The study's, then the other columns of biology.
    W : (n, q) float64
        Their design columns.
    columns : dict of str to (n,) array
        The same as they stand in participants.tsv.
    sites : tuple of str
    order : (n,) int
        Rows of the stacked sites in the order of the sample.
    sizes : tuple of int
        Rows of every site.
    """

    names: NDArray[Any]
    person: Int
    batch: Int
    batches: tuple[str, ...]
    fit: Bool
    unseen: Bool
    covariates: tuple[Covariate, ...]
    W: Float
    columns: Mapping[str, NDArray[Any]]
    sites: tuple[str, ...]
    order: Int
    sizes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.names)

    def stack(self, values: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """What every site has one row of for every person, in the order of the sample."""
        stacked: NDArray[Any] = np.concatenate([values[site] for site in self.sites])
        return stacked[self.order]

    def unstack(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The reverse of :meth:`stack`."""
        back = np.empty_like(values)
        back[self.order] = values
        parts = np.split(back, np.cumsum(self.sizes)[:-1])
        return dict(zip(self.sites, parts, strict=True))

    def design_of(self, column: str) -> slice:
        """Which columns of `W` belong to a covariate."""
        start = 0
        for covariate in self.covariates:
            stop = start + len(covariate.columns)
            if covariate.name == column:
                return slice(start, stop)
            start = stop
        raise KeyError(column)


def gather(
    tables: Mapping[str, Table],
    fit: Mapping[str, Bool],
    *,
    plan: Plan,
    links: Mapping[str, Link],
) -> Sample:
    """Put the people of all sites together.

    Parameters
    ----------
    tables : mapping of str to Table
    fit : mapping of str to (n,) bool
    plan : Plan
    links : mapping of str to mapping
        Site -> participant -> the name of the traveler.
    """
    sites = tuple(sorted(tables))
    schema = plan.schema.with_biology
    parts = [tables[site] for site in sites]
    names = np.concatenate([part.people.astype(str) for part in parts])
    label = np.concatenate([part.batch.astype(str) for part in parts])
    at = np.repeat(np.array(sites), [len(part) for part in parts])
    session = np.concatenate(
        [np.full(len(p), "") if p.sessions is None else p.sessions.astype(str) for p in parts]
    )
    order = np.lexsort((at, label, session, names))
    names, label, at = names[order], label[order], at[order]
    who = same_people(names, at, links)
    batch, batches = _numbered(list(zip(at.tolist(), label.tolist(), strict=True)))
    return Sample(
        names=names,
        person=_numbered(who)[0],
        batch=batch,
        batches=tuple(str(Batch(*pair)) for pair in batches),
        fit=np.concatenate([fit[site] for site in sites])[order],
        unseen=np.isin(at, sorted({batch.site for batch in schema.unseen})),
        covariates=schema.covariates,
        W=np.concatenate([design_matrix(part, schema) for part in parts])[order],
        columns={
            c.name: np.concatenate([p.covariates[c.name].to_numpy() for p in parts])[order]
            for c in schema.covariates
        },
        sites=sites,
        order=order,
        sizes=tuple(len(part) for part in parts),
    )


def _numbered(labels: Sequence[Any]) -> tuple[Int, list[Any]]:
    """Number labels by first appearance."""
    number: dict[Any, int] = {}
    codes = [number.setdefault(label, len(number)) for label in labels]
    return np.array(codes, dtype=np.intp), list(number)

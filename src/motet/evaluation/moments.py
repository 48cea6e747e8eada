"""Rounds 1 and 2 at a site: how many, where they lie, and moments centred within batch.

Sums of squares about a centre that all sites share lose nothing to a large mean, and sums within
batch need no other site. Together they give every residual sum of squares of an analysis of
variance: with batches, within; without, about the pooled mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.evaluation.declared import VERSIONS, V
from motet.evaluation.features import chunks
from motet.evaluation.rows import Rows, design, groups, positions
from motet.releases import Arrays
from motet.site import Site

Float = NDArray[np.float64]

FAILED_ALONE = "failed_alone"
"""What a site keeps where its own fit failed, so that its local-only values are raw."""


def block(site: Site, columns: slice) -> tuple[Float, Float]:
    """Values (V, n, c) of some features, 0 where missing, and whether they are there, (n, c)."""
    values = np.stack([site.versions[version].block(columns) for version in VERSIONS])
    seen = np.isfinite(values).all(axis=0)
    return np.where(seen, values, 0.0), seen.astype(np.float64)


def send_people(site: Site, rows: Rows, *, by_batch: bool) -> dict[str, NDArray[Any]]:
    """Round 1: over everybody, since a centre is only where sums are taken about."""
    counts = np.zeros((3, len(site.schema.judged)), dtype=np.int64)
    for count, mask in zip(counts, (site.fit, ~site.fit, rows.judged), strict=True):
        np.add.at(count, positions(site)[mask], 1)
    p = len(site.schema.features)
    observed, total = np.zeros(p, dtype=np.int64), np.zeros((V, p))
    for columns in chunks(p):
        values, seen = block(site, columns)
        observed[columns] = seen.sum(axis=0)
        total[:, columns] = values.sum(axis=1)
    whom = (site.data.people, site.data.people[rows.judged])
    people = [len(set(ids.tolist())) for ids in whom]
    # Known only now: the values were made when they were first read.
    failed = site.keep.get(FAILED_ALONE, np.zeros(()))
    return {
        **(_of_batches(counts) if by_batch else _of_all(site, counts)),
        "people": np.array(people, dtype=np.int64),
        "failed_alone": np.asarray(failed, dtype=np.int64),
        "observed": observed,
        "sum_y": total,
        "sum_x": design(site).sum(axis=0),
    }


def _of_batches(counts: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    return {"counts": counts}


def _of_all(site: Site, counts: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Of rows (3, batches): how many, and of how many batches."""
    fit, others, judged = counts.sum(axis=1)
    unseen = site.name in {batch.site for batch in site.schema.unseen}
    found = (fit, 0, others, judged) if unseen else (fit, others, 0, judged)
    batches = ((counts[:2].sum(axis=0) > 0).sum(), (counts[2] > 0).sum())
    return {
        "counts": np.array(found, dtype=np.int64),
        "batches": np.array(batches, dtype=np.int64),
    }


def send_moments(site: Site, shared: Arrays, rows: Rows) -> dict[str, NDArray[Any]]:
    """Round 2: moments of the judged, and the scale of those that probes are trained on."""
    p, incomplete = len(site.schema.features), shared["judged_incomplete"].astype(np.intp)
    X = design(site)[rows.judged] - shared["centre_x"]
    members = groups(site.data.batch[rows.judged])
    W = _within(X, members)
    Q = X.shape[1]
    sums: dict[str, NDArray[Any]] = {
        "x": X.sum(axis=0),
        "xx": X.T @ X,
        "xx_within": W.T @ W,
        **{name: np.zeros((V, p)) for name in ("y", "yy", "yy_within")},
        **{name: np.zeros((V, Q, p)) for name in ("xy", "xy_within")},
        "n_trained": np.zeros(p, dtype=np.int64),
        **{name: np.zeros((V, p)) for name in ("y_trained", "yy_trained")},
    }
    m = len(incomplete)
    of_incomplete: dict[str, NDArray[Any]] = {
        **{name: np.zeros(m, dtype=np.int64) for name in ("n", "batches")},
        "x": np.zeros((m, Q)),
        **{name: np.zeros((m, Q, Q)) for name in ("xx", "xx_within")},
    }
    for columns in chunks(p):
        values, seen = block(site, columns)
        # About the centre first: what is left is of the size of the spread.
        values = (values - shared["centre"][:, None, columns]) * seen
        trained = values[:, rows.trained]
        sums["n_trained"][columns] = seen[rows.trained].sum(axis=0)
        sums["y_trained"][:, columns] = trained.sum(axis=1)
        sums["yy_trained"][:, columns] = (trained**2).sum(axis=1)
        Y, S = values[:, rows.judged], seen[rows.judged]
        sums["y"][:, columns] = Y.sum(axis=1)
        sums["yy"][:, columns] = (Y**2).sum(axis=1)
        sums["xy"][..., columns] = X.T @ Y
        for index in members:
            n = np.maximum(S[index].sum(axis=0), 1.0)
            centred = (Y[:, index] - Y[:, index].sum(axis=1, keepdims=True) / n) * S[index]
            sums["yy_within"][:, columns] += (centred**2).sum(axis=1)
            sums["xy_within"][..., columns] += W[index].T @ centred
        for i in np.flatnonzero((incomplete >= columns.start) & (incomplete < columns.stop)):
            found = _columns_of(S[:, incomplete[i] - columns.start], X, members)
            for name, value in found.items():
                of_incomplete[name][i] = value
    return sums | {f"{name}_of_incomplete": array for name, array in of_incomplete.items()}


def _within(X: Float, members: list[NDArray[np.intp]]) -> Float:
    """Columns centred within batch; one that is constant there becomes exactly 0."""
    W = np.zeros_like(X)
    for index in members:
        part = X[index]
        W[index] = np.where(part.max(axis=0) == part.min(axis=0), 0.0, part - part.mean(axis=0))
    return W


def _columns_of(seen: Float, X: Float, members: list[NDArray[np.intp]]) -> dict[str, Any]:
    """Moments of the columns over the people who have a value of one feature."""
    present = [index[seen[index] > 0] for index in members]
    present = [index for index in present if len(index)]
    there = X[seen > 0]
    within = _within(X, present)
    return {
        "n": len(there),
        "batches": len(present),
        "x": there.sum(axis=0),
        "xx": there.T @ there,
        "xx_within": within.T @ within,
    }

"""Round 3 at a site: spread within batches, and the cross-products that probes are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.evaluation.declared import DIMENSIONS, V
from motet.evaluation.features import CHUNK, chunks
from motet.evaluation.moments import block
from motet.evaluation.rows import Rows, design, groups, positions, target_values
from motet.releases import Arrays
from motet.site import Site, draw

Float = NDArray[np.float64]


LONGEST = 100.0
"""Largest squared length of a person's features, beside their number."""


def dimensions(p: int) -> int:
    """How many dimensions the probes see of p features."""
    return min(p, DIMENSIONS)


class Projection:
    """Orthonormal columns (p, d), the same at every site: they are drawn from the study's seed.

    Every feature goes to one of d groups of nearly equal size, with a random sign: a count sketch
    (Charikar, Chen, Farach-Colton 2002, doi:10.1007/3-540-45465-9_59), whose columns are
    orthonormal since groups do not overlap. With no more features than dimensions nothing is drawn.

    Parameters
    ----------
    p : int
    seed : int
    """

    def __init__(self, p: int, *, seed: int) -> None:
        self.dimensions = dimensions(p)
        self._drawn = self.dimensions < p
        group, sign = np.arange(p), np.ones(p)
        if self._drawn:
            # Within a chunk every group gets a feature in turn, so that a chunk is added in slices.
            rng = draw(seed, "projection", "")
            places = [rng.permutation(c.stop - c.start) for c in chunks(p)]
            group = np.concatenate(places) % self.dimensions
            sign = rng.choice([-1.0, 1.0], p)
        self._group = group
        self._weight = sign / np.sqrt(np.bincount(group, minlength=self.dimensions)[group])
        self._order = [np.argsort(place) for place in places] if self._drawn else []

    def add(self, onto: Float, values: Float, columns: slice) -> None:
        """Add the part of values (V, n, c) of a chunk of features to `onto`, (V, n, d)."""
        if not self._drawn:
            onto[..., columns] += values
            return
        weighted = values * self._weight[columns]
        order = self._order[columns.start // CHUNK]
        for start in range(0, len(order), self.dimensions):
            part = order[start : start + self.dimensions]
            onto[..., : len(part)] += weighted[..., part]

    def bound(self, values: Float) -> Float:
        """What bounds projections, (V, d), of values that these, (V, p), bound."""
        sizes = values * np.abs(self._weight)
        return np.array([np.bincount(self._group, of, self.dimensions) for of in sizes])


def probed(site: Site, shared: Arrays, *, seed: int) -> NDArray[np.float64]:
    """What the probes see of everybody, (V, n, d): features standardized as in the fit, projected.

    A missing value is taken for the mean. Kept for the next round: it takes a pass over all data.
    """
    if "probed" in site.keep:
        return site.keep["probed"]
    p = len(site.schema.features)
    projection = Projection(p, seed=seed)
    found = np.zeros((V, len(site.data), projection.dimensions))
    for columns in chunks(p):
        values, seen = block(site, columns)
        mean, per_sd = shared["mean"][:, None, columns], shared["per_sd"][:, None, columns]
        projection.add(found, (values - mean) * per_sd * seen, columns)
    site.keep["probed"] = found
    return found


def send_probes(
    site: Site, shared: Arrays, rows: Rows, *, seed: int, by_batch: bool
) -> dict[str, NDArray[Any]]:
    """Round 3.

    Parameters
    ----------
    site : Site
    shared : mapping
        ``beta`` (V, columns, p), ``mean`` and ``per_sd`` (V, p) of the people of the fit.
    rows : Rows
    seed : int
    by_batch : bool
        Whether a probe is to tell batches apart.
    """
    F = probed(site, shared, seed=seed)[:, rows.trained]
    T = target_values(site)[rows.trained].T - shared["centre_t"][:, None]
    of_features = _of_batches(site, F, positions(site)[rows.trained]) if by_batch else _of_all(F)
    return {
        **_distances(site, shared, rows),
        **of_features,
        "t": T.sum(axis=1),
        "tt": (T**2).sum(axis=1),
        "tf": np.einsum("tn,vnd->vtd", T, F),
    }


def _of_all(F: Float) -> dict[str, NDArray[Any]]:
    """Sums of the features (V, n, d) over everybody."""
    return {
        "n_trained": np.asarray(F.shape[1], dtype=np.int64),
        "f": F.sum(axis=1),
        "ff": F.transpose(0, 2, 1) @ F,
    }


def _of_batches(site: Site, F: Float, batch: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """Sums of the features (V, n, d) by batch, and within batches."""
    K, d = len(site.schema.judged), F.shape[2]
    sums: dict[str, NDArray[Any]] = {
        "n_of_batch": np.bincount(batch, minlength=K).astype(np.int64),
        "f_of_batch": np.zeros((V, K, d)),
        "ff_within": np.zeros((V, d, d)),
        "f4": np.zeros(V),
    }
    for k in np.unique(batch):
        members = F[:, batch == k]
        centred = members - members.mean(axis=1, keepdims=True)
        sums["f_of_batch"][:, k] = members.sum(axis=1)
        sums["ff_within"] += centred.transpose(0, 2, 1) @ centred
        # Beyond ten standard deviations in every dimension nobody weighs more: it bounds the sum.
        lengths = np.minimum((centred**2).sum(axis=2), LONGEST * d)
        sums["f4"] += (lengths**2).sum(axis=1)
    return sums


def _distances(site: Site, shared: Arrays, rows: Rows) -> dict[str, NDArray[Any]]:
    """Sums of the distances of residuals from their batch's median, as Brown and Forsythe have it.

    A batch lies at one site, so its median needs no other. One person alone has no spread.
    """
    p = len(site.schema.features)
    sums: dict[str, NDArray[Any]] = {
        **{name: np.zeros(p, dtype=np.int64) for name in ("n_spread", "batches_spread")},
        **{name: np.zeros((V, p)) for name in ("z", "zz", "zz_within")},
    }
    W = design(site)[rows.judged] - shared["centre_x"]
    members = groups(site.data.batch[rows.judged])
    for columns in chunks(p):
        values, seen = block(site, columns)
        values = values[:, rows.judged] - shared["centre"][:, None, columns]
        residual = values - W @ shared["beta"][..., columns]
        there = seen[rows.judged] > 0
        for index in members:
            part, present = residual[:, index], there[index]
            n = present.sum(axis=0)
            present = present & (n > 1)
            n = np.maximum(n, 1)
            z = np.abs(part - _median(part, present)) * present
            sums["n_spread"][columns] += present.sum(axis=0)
            sums["batches_spread"][columns] += present.any(axis=0)
            sums["z"][:, columns] += z.sum(axis=1)
            sums["zz"][:, columns] += (z**2).sum(axis=1)
            centred = (z - z.sum(axis=1, keepdims=True) / n) * present
            sums["zz_within"][:, columns] += (centred**2).sum(axis=1)
    return sums


def _median(values: Float, present: NDArray[np.bool_]) -> Float:
    """Median over the rows that are present, (V, 1, c); 0 where there are none."""
    if present.all():
        return np.asarray(np.median(values, axis=1, keepdims=True))
    found = np.zeros((len(values), 1, values.shape[2]))
    for j in range(values.shape[2]):
        if present[:, j].any():
            found[:, 0, j] = np.median(values[:, present[:, j], j], axis=1)
    return found

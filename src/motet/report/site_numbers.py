"""What harmonization did to the people of one site: computed at the site, for its own page."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.images.images import Images

Float = NDArray[np.float64]
CHUNK = 1024
"""Features looked at together: tables can be larger than memory."""
FAR = 3.0
"""Standard deviations of its batch beyond which a value counts as far out."""
ENOUGH = 5
"""People of a batch from which its standard deviation is used."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How far values moved, and which lie far out.

    Attributes
    ----------
    of_feature : (p,) float64
        Mean absolute change, in standard deviations of the feature; NaN where it does not vary.
    of_person : (n,) float64
        Root mean square change over features, in the same unit.
    far_out : (n,) float64
        Share of a person's features that lie more than ``FAR`` standard deviations from the mean
        of the batch after harmonization; NaN in a batch of fewer than ``ENOUGH``.
    """

    of_feature: Float
    of_person: Float
    far_out: Float


def in_units_of(raw: Table, harmonized: Float) -> Table:
    """Raw measures of images in the units of the harmonized: one line for a contrast's intensities.

    Methods for images end in units of their own, and a change of units moves nobody. Other tables
    stay as they are.
    """
    if not isinstance(raw, Images):
        return raw
    values, after = np.array(raw.block(slice(None))), np.asarray(harmonized, dtype=np.float64)
    for contrast in raw.contrasts:
        of_intensity = np.array(
            [
                name.startswith(f"{contrast}_") and not unit
                for name, unit in zip(raw.features, raw.units, strict=True)
            ]
        )
        x, y = values[:, of_intensity], after[:, of_intensity]
        about = x - x.mean()
        spread = float((about**2).sum())
        if spread > 0:
            slope = float((about * (y - y.mean())).sum()) / spread
            values[:, of_intensity] = y.mean() + slope * about
    return replace(raw, values=values, rows=None)


def changes(raw: Table, harmonized: Float) -> Changes:
    """Compare (n, p) values before and after, some features at a time."""
    n, p = len(raw), len(raw.features)
    of_feature = np.full(p, np.nan)
    squares, seen = np.zeros(n), np.zeros(n)
    far, judged = np.zeros(n), np.zeros(n)
    for start in range(0, p, CHUNK):
        columns = slice(start, min(start + CHUNK, p))
        before = raw.block(columns)
        after = np.asarray(harmonized[:, columns], dtype=np.float64)
        _, sd = _moments(before)
        moved = (after - before) / np.where(sd > 0, sd, np.nan)
        known = np.isfinite(moved)
        count = known.sum(axis=0)
        total = np.where(known, np.abs(moved), 0.0).sum(axis=0)
        of_feature[columns] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        squares += np.where(known, moved**2, 0.0).sum(axis=1)
        seen += known.sum(axis=1)
        for name in raw.batches:
            rows = raw.batch == name
            if rows.sum() >= ENOUGH:
                out, of = _far_out(after[rows])
                far[rows] += out
                judged[rows] += of
    return Changes(
        of_feature=of_feature,
        of_person=np.where(seen > 0, np.sqrt(squares / np.maximum(seen, 1)), np.nan),
        far_out=np.where(judged > 0, far / np.maximum(judged, 1), np.nan),
    )


def _moments(values: Float) -> tuple[Float, Float]:
    """Mean and standard deviation (divisor n) of the observed values of each column."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    centred = np.where(known, values - mean, 0.0)
    return mean, np.sqrt((centred**2).sum(axis=0) / count)


def _far_out(values: Float) -> tuple[Float, Float]:
    """For each person, how many values lie far out, and of how many."""
    mean, sd = _moments(values)
    usable = np.isfinite(values) & (sd > 0)
    z = np.where(usable, np.abs(values - mean) / np.where(sd > 0, sd, 1.0), 0.0)
    return (z > FAR).sum(axis=1).astype(np.float64), usable.sum(axis=1).astype(np.float64)

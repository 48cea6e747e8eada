"""Shuffles and resamples of people: a person's rows always stay together."""

from __future__ import annotations

import numpy as np

from motet.evaluation.battery.sample import Float, Int
from motet.site import draw

RESAMPLES = 500
"""Resamples of people behind an interval."""


def shuffles(person: Int, count: int, *, seed: int, purpose: str, within: Int | None = None) -> Int:
    """Permutations of rows that move whole people, (count, n).

    Parameters
    ----------
    person : (n,) int
        People with as many rows change places with each other.
    count : int
    seed : int
    purpose : str
    within : (n,) int, optional
        Rows change places only where this is equal.
    """
    rng = draw(seed, purpose, "")
    blocks = _blocks(person, np.zeros_like(person) if within is None else within)
    found = np.tile(np.arange(len(person)), (count, 1))
    for shuffled in found:
        for rows in blocks:
            shuffled[rows] = rows[rng.permutation(len(rows))]
    return found


def resamples(person: Int, stratum: Int, *, seed: int, purpose: str) -> Float:
    """How often every row is drawn when people are drawn anew, (RESAMPLES, n).

    Parameters
    ----------
    person : (n,) int
    stratum : (n,) int
        People are drawn within it; that of a person's first row counts.
    seed : int
    purpose : str
    """
    rng = draw(seed, purpose, "")
    _, first, code = np.unique(person, return_index=True, return_inverse=True)
    of_person = stratum[first]
    times = np.zeros((RESAMPLES, len(first)))
    for name in np.unique(of_person):
        members = np.flatnonzero(of_person == name)
        share = np.full(len(members), 1 / len(members))
        times[:, members] = rng.multinomial(len(members), share, size=RESAMPLES)
    return times[:, code]


def middle(values: Float) -> tuple[float, float] | None:
    """Where the middle 95 % of draws lie, None where fewer than 20 could be made.

    By the quantile i / (n + 1): of few draws the outermost, not something between them.
    """
    values = values[np.isfinite(values)]
    if len(values) < 20:
        return None
    low, high = np.quantile(values, (0.025, 0.975), method="weibull")
    return float(low), float(high)


def _blocks(person: Int, within: Int) -> list[Int]:
    """Rows of the people who may change places, (g, m): g people of m rows each."""
    together: dict[tuple[int, ...], list[Int]] = {}
    order = np.argsort(person, kind="stable")
    starts = np.flatnonzero(np.diff(person[order])) + 1
    for rows in np.split(order, starts):
        together.setdefault(tuple(within[rows].tolist()), []).append(rows)
    return [np.stack(rows) for rows in together.values()]

"""Who trains a probe and who is read, by person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motet.cohort import in_fit
from motet.evaluation.battery.sample import Bool, Int, Sample
from motet.site import draw

FOLDS = 5
PREDICTIONS = 250
"""Folds are dealt again until so many predictions are made, or `ROUNDS` times."""
ROUNDS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Rows that train, and rows that are read: never of one person."""

    train: Int
    test: Int


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """How a sample is judged.

    Attributes
    ----------
    rounds : tuple of tuple of Split
        In a round every row is read at most once. One round of one split where people are held
        out; several rounds of folds where nobody is.
    judged : tuple of (m,) int
        Rows on which features are tested: people harmonized alike, by one fit.
    people : str
        Who that is.
    probed : (batches,) bool
        Batches with people enough for a probe: two who train and one who is read.
    """

    rounds: tuple[tuple[Split, ...], ...]
    judged: tuple[Int, ...]
    people: str
    probed: Bool


def split(sample: Sample, *, held_out: float, seed: int) -> Splits:
    """By who was in the fit; where that is everybody, folds over people.

    An unseen site's people were all harmonized without training anything but their own site's
    effects; the draw that holds people out elsewhere parts them into those who train a probe and
    those who are read.
    """
    train = sample.fit.copy()
    if sample.unseen.any():
        drawn = in_fit(sample.names, held_out=held_out, seed=seed)
        train[sample.unseen] = drawn[sample.unseen]
    if train.all():
        n = len(sample)
        rounds = min(ROUNDS, -(-PREDICTIONS // n))
        return Splits(
            rounds=tuple(folds(sample, seed=seed, step=step) for step in range(rounds)),
            judged=(np.arange(n),),
            people="all (fitted on them)",
            probed=people_of(sample, np.ones(n, dtype=bool)) >= 3,
        )
    test = ~train
    # Somebody who is read, under whichever of his names, trains nothing.
    train &= ~np.isin(sample.person, sample.person[test])
    # A batch of which everybody is held out was harmonized with effects of these very people.
    seen = np.isin(sample.batch, sample.batch[sample.fit]) | sample.unseen
    return Splits(
        rounds=((Split(train=np.flatnonzero(train), test=np.flatnonzero(test)),),),
        judged=(np.flatnonzero(test & seen),),
        people="held out",
        probed=(people_of(sample, train) >= 2) & (people_of(sample, test) >= 1),
    )


def folds(sample: Sample, *, seed: int, step: int, count: int = FOLDS) -> tuple[Split, ...]:
    """Deal people into folds, batch by batch, so that every fold has its share of each batch."""
    first = np.unique(sample.person, return_index=True)[1]
    names = sample.names[first].tolist()
    drawn = np.array([draw(seed, "folds", name, step).random() for name in names])
    dealt = np.lexsort((drawn, sample.batch[first]))
    fold = np.empty(len(first), dtype=np.intp)
    fold[dealt] = np.arange(len(first)) % count
    of_row = fold[sample.person]
    return tuple(
        Split(train=np.flatnonzero(of_row != k), test=np.flatnonzero(of_row == k))
        for k in range(count)
        if (of_row == k).any()
    )


def people_of(sample: Sample, mask: Bool) -> Int:
    """How many people of every batch a mask has, (batches,)."""
    pairs = np.unique(np.stack([sample.batch[mask], sample.person[mask]]), axis=1)
    return np.bincount(pairs[0], minlength=len(sample.batches)).astype(np.intp)

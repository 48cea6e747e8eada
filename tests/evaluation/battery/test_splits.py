"""Who trains and who is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluation.battery.made_up import consortium
from motet.evaluation.battery.draws import middle, resamples, shuffles
from motet.evaluation.battery.sample import Sample
from motet.evaluation.battery.splits import Splits, split


def check_people(sample: Sample, splits: Splits) -> None:
    for parts in splits.rounds:
        for part in parts:
            assert not set(sample.person[part.train]) & set(sample.person[part.test])
        read = np.concatenate([part.test for part in parts])
        assert len(set(read.tolist())) == len(read)


def test_folds_keep_people_together() -> None:
    """Catches a split by row: a person's second scan would be told from his first."""
    sample = consortium((20, 20)).sample()
    sample = replace(sample, person=sample.person // 2)
    splits = split(sample, held_out=0.0, seed=1)
    check_people(sample, splits)
    assert splits.people == "all (fitted on them)"
    for parts in splits.rounds:
        assert sorted(np.concatenate([part.test for part in parts])) == list(range(40))


def test_folds_have_every_batch() -> None:
    """Catches folds that leave a batch to chance."""
    sample = consortium((10, 15)).sample()
    for part in split(sample, held_out=0.0, seed=1).rounds[0]:
        assert np.bincount(sample.batch[part.test], minlength=2).min() >= 2


def test_held_out_people_are_read() -> None:
    """Catches a probe that is read on people of the fit."""
    sample = consortium((20, 20), held_out=0.3).sample()
    splits = split(sample, held_out=0.3, seed=1)
    check_people(sample, splits)
    (part,) = splits.rounds[0]
    assert sample.fit[part.train].all()
    assert not sample.fit[part.test].any()
    assert splits.people == "held out"


def test_traveler_under_two_names_trains_nothing_once_read() -> None:
    """Catches somebody in the fit at one site and read, under another name, at the next."""
    made = consortium((20, 20), held_out=0.3)
    sample = made.sample()
    a, b = np.flatnonzero(sample.fit)[0], np.flatnonzero(~sample.fit)[0]
    person = sample.person.copy()
    person[a] = person[b]
    sample = replace(sample, person=person)
    splits = split(sample, held_out=0.3, seed=1)
    check_people(sample, splits)
    assert a not in splits.rounds[0][0].train


def test_unseen_site_trains_a_probe_too() -> None:
    """Catches a class that the probe has never seen, or people who train and are read."""
    made = replace(consortium((20, 20, 20), held_out=0.3), unseen=("site-b1",))
    sample = made.sample()
    splits = split(sample, held_out=0.3, seed=1)
    check_people(sample, splits)
    (part,) = splits.rounds[0]
    unseen = np.flatnonzero(sample.unseen)
    assert np.isin(unseen, part.train).any()
    assert np.isin(unseen, part.test).any()
    assert splits.probed.all()


def test_small_batches_are_left_out_of_probes() -> None:
    """Catches a class of one person, who cannot both train and be read."""
    sample = consortium((20, 20, 1)).sample()
    splits = split(sample, held_out=0.0, seed=1)
    alone = sample.batches.index("site-b2/b2")
    assert not splits.probed[alone]
    assert splits.probed.sum() == 2


def test_shuffles_move_whole_people() -> None:
    """Catches labels shuffled by row, under which a band is too narrow."""
    person = np.array([0, 0, 1, 2, 2, 3, 4, 4])
    label = np.array([5, 5, 6, 7, 7, 8, 9, 9])
    for order in shuffles(person, 50, seed=0, purpose="x"):
        moved = label[order]
        assert sorted(order) == list(range(8))
        assert moved[0] == moved[1]
        assert moved[3] == moved[4]
        assert moved[6] == moved[7]
    within = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    for order in shuffles(person, 50, seed=0, purpose="x", within=within):
        assert (within[order] == within).all()


def test_resamples_draw_people_within_batches() -> None:
    """Catches rows drawn without the person's other rows, and a batch that vanishes."""
    person, stratum = np.array([0, 0, 1, 2, 3]), np.array([0, 0, 0, 1, 1])
    w = resamples(person, stratum, seed=0, purpose="x")
    assert (w[:, 0] == w[:, 1]).all()
    assert (w[:, 0] + w[:, 2] == 2).all()
    assert (w[:, 3] + w[:, 4] == 2).all()
    assert len(np.unique(w, axis=0)) > 4


def test_middle_of_few_draws_is_wide() -> None:
    """Catches a band of 20 draws that pretends to know where 95 % lie."""
    assert middle(np.arange(20.0)) == (0.0, 19.0)
    assert middle(np.arange(10.0)) is None
    low, high = middle(np.arange(1001.0)) or (np.nan, np.nan)
    assert (low, high) == pytest.approx((24.05, 975.95), abs=1)

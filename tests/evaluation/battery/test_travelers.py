"""Travelers: who they are, and how well they agree with themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.battery.made_up import consortium
from motet.bids.travelers import read_travelers
from motet.errors import DataError
from motet.evaluation.battery.reliability import (
    block,
    contradictions,
    icc_2_1,
    traveler_metrics,
    within_cv,
)
from motet.evaluation.battery.sample import gather

# Shrout and Fleiss 1979, table 2: six targets rated by four judges; table 4 gives ICC(2,1) = .29.
RATINGS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


def test_published_example() -> None:
    """Catches ICC(1,1) = .17 and ICC(3,1) = .71, which forget or forgive the judges."""
    assert icc_2_1(RATINGS[:, :, None])[0] == pytest.approx(0.29, abs=0.005)


def test_within_subject_cv() -> None:
    """Catches an sd with n for n - 1, and a mean over people of sd instead of its square."""
    Y = np.array([[9.0, 11.0], [18.0, 22.0]])[:, :, None]
    assert within_cv(Y)[0] == pytest.approx(np.sqrt(0.02))
    assert np.isnan(within_cv(Y - 10)[0])


def test_block_compares_the_same_people_in_the_same_batches() -> None:
    """Catches people of other scanners compared as if all had been everywhere."""
    sample = consortium((10, 10, 10)).sample()
    rows = [np.flatnonzero(sample.batch == k) for k in range(3)]
    person = np.arange(30) + 100
    for i in range(4):  # four people in the batches 0 and 1, the first of them in 2 as well
        person[rows[0][i]] = person[rows[1][i]] = i
    person[rows[2][0]] = 0
    found = block(replace(sample, person=person))
    assert found is not None
    assert found.batches.tolist() == [0, 1]
    assert found.rows.shape == (4, 2)
    assert found.travelers == 4
    assert block(sample) is None


def test_agreement_that_improves_is_seen() -> None:
    """Catches versions that are compared on other people."""
    made = consortium((12, 12), p=10, shift=3.0)
    sample = made.sample()
    person = np.arange(24)
    first, second = (np.flatnonzero(sample.batch == k)[:8] for k in range(2))
    person[second] = person[first]
    found = block(replace(sample, person=person))
    assert found is not None
    truth = sample.stack(made.at_sites(made.truth)) + 50
    truth[second] = truth[first] + 0.1 * np.random.default_rng(0).standard_normal((8, 10))
    effect = sample.stack(made.at_sites(made.values - made.truth))
    metrics = {
        m.name: m.readings
        for m in traveler_metrics({"raw": truth + effect, "harmonized": truth}, found, seed=1)
    }
    assert metrics["icc_travelers"]["harmonized"].value > 0.9
    assert metrics["icc_travelers"]["raw"].value < 0.7
    assert metrics["cv_travelers"]["harmonized"].value < metrics["cv_travelers"]["raw"].value / 3
    assert metrics["icc_travelers"]["raw"].interval is not None


def written(folder: Path, text: str) -> Path:
    (folder / "travelers.tsv").write_text(text)
    return folder


def test_file_links_people(tmp_path: Path) -> None:
    """Catches travelers who count as two people, on both sides of a split."""
    made = consortium((6, 6))
    tables = made.tables()
    links = {}
    for site, table in tables.items():
        (tmp_path / site).mkdir()
        text = f"traveler_id\tparticipant_id\nT1\t{table.people[0]}\n"
        found = read_travelers(written(tmp_path / site, text), table.people.tolist(), site=site)
        links[site] = {person: traveler for traveler, person in found.people.items()}
    sample = gather(tables, made.fit(), plan=made.plan(tables), links=links)
    assert len(np.unique(sample.person)) == 11
    assert read_travelers(tmp_path, (), site="b0").people == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("traveler\tparticipant_id\nT1\tp\n", "traveler_id"),
        ("traveler_id\tparticipant_id\nT1\tnobody\n", "nobody is no participant"),
        ("traveler_id\tparticipant_id\nT1\t{0}\nT1\t{1}\n", "T1 is given twice"),
        ("traveler_id\tparticipant_id\nT1\t{0}\nT2\t{0}\n", "is given twice"),
        ("traveler_id\tparticipant_id\nn/a\t{0}\n", "missing"),
    ],
)
def test_file_at_fault(tmp_path: Path, text: str, words: str) -> None:
    """Catches a wrong file that is taken for one without travelers."""
    table = next(iter(consortium((6, 6)).tables().values()))
    text = text.format(*table.people)
    with pytest.raises(DataError, match=words) as caught:
        read_travelers(written(tmp_path, text), table.people.tolist(), site=table.site)
    assert "travelers.tsv" in str(caught.value)
    assert table.site in str(caught.value)


def test_one_name_for_two_people() -> None:
    """Catches sub-01 of every hospital taken for one traveler."""
    sample = consortium((8, 8)).sample()
    men, women = (np.flatnonzero(sample.columns["sex"] == level) for level in "MF")
    person = np.arange(16)
    person[women[0]] = person[men[0]]
    assert len(contradictions(replace(sample, person=person))) == 1
    person = np.arange(16)
    person[men[1]] = person[men[0]]
    assert contradictions(replace(sample, person=person)) == []

"""One number that cannot be meant has the weight of thousands of people in a sum of squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.bids.covariates import CovariateRequest
from motet.bids.plausible import far_rows, far_values, spreads_off
from motet.bids.read import read_site
from motet.bids.table import Table
from motet.errors import DataError

AGES = [20.0 + (7 * i) % 31 for i in range(40)]
AUTO = {"age": CovariateRequest()}


def read(folder: Path, ages: list[float | str]) -> Table:
    """A site of one person an age."""
    people = [f"sub-{i:03d}" for i in range(len(ages))]
    rows = [f"{who}\t{age}" for who, age in zip(people, ages, strict=True)]
    (folder / "participants.tsv").write_text("\n".join(["participant_id\tage", *rows]))
    values = [f"{who}\t{i}" for i, who in enumerate(people)]
    (folder / "features.tsv").write_text("\n".join(["participant_id\tlh", *values]))
    return read_site(folder, site="oak", covariates=AUTO)


@pytest.mark.parametrize(
    ("wrong", "often"), [(-9999, 1), (-9999, 14), (999, 1), (999, 14), (19800101, 1), (-1e9, 1)]
)
def test_numbers_that_cannot_be_meant_are_refused(tmp_path: Path, wrong: float, often: int) -> None:
    """Catches a code of a missing age that is fitted as an age, also where a third has it."""
    with pytest.raises(DataError) as error:
        read(tmp_path, [*AGES, *[wrong] * often])
    assert error.value.where["person"] == "sub-040"
    assert error.value.where["column"] == "age"
    assert f"{wrong:.12g}" in str(error.value)
    assert ("code for a missing value" in str(error.value)) == (abs(wrong) in (999, 9999))


@pytest.mark.parametrize("wrong", [950, 250, -400])
def test_far_numbers_are_told_of(tmp_path: Path, wrong: float) -> None:
    """Catches a site that is not told whose age bends everybody's slopes."""
    table = read(tmp_path, [*AGES, wrong])
    assert far_rows(table).nonzero()[0].tolist() == [40]
    (sentence,) = far_values(table)
    assert f"'age' of sub-040 ({wrong}) is far from everybody's" in sentence


ORDINARY: dict[str, list[float]] = {
    "ages": AGES,
    "a site of students with a teacher": [20.0] * 30 + [21.0] * 20 + [64.0],
    "a code of a sex": [1.0] * 30 + [2.0],
    "indicators": [0.0] * 30 + [1.0],
    "an age of 99 among the old": [*np.linspace(70, 95, 20).tolist(), 99.0],
    "one person": [31.0],
    "two": [8.0, 80.0],
    "skewed": np.exp(0.7 * np.random.default_rng(0).normal(size=500)).tolist(),
    "standardized": np.random.default_rng(0).standard_t(5, size=500).tolist(),
}


@pytest.mark.parametrize("values", ORDINARY.values(), ids=list(ORDINARY))
def test_ordinary_numbers_are_let_be(tmp_path: Path, values: list[float]) -> None:
    """Catches a warning that people learn to read over."""
    table = read(tmp_path, list(values))
    assert not far_rows(table).any()
    assert not far_values(table)


@given(st.floats(0.01, 100.0))
def test_units_make_no_difference(factor: float) -> None:
    """Catches a rule that is of years."""
    values = np.array([*AGES, 950.0])
    assert np.allclose(spreads_off(values * factor), spreads_off(values))
    assert (spreads_off(values * factor) > 8).tolist() == [False] * 40 + [True]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("34,5", "Write it with a decimal point: 34.5."),
        ("25y", "Write the number alone: 25."),
        ("25,5 years", "Write the number alone: 25.5."),
        ("old", "or say that the covariate is categorical"),
    ],
)
def test_a_number_as_people_write_it_is_given_back(tmp_path: Path, cell: str, says: str) -> None:
    """Catches advice to call an age a category."""
    with pytest.raises(DataError) as error:
        read(tmp_path, [*AGES, cell])
    assert says in str(error.value)

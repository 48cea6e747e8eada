"""One number that cannot be meant has the weight of thousands of people in a sum of squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.bids.covariates import CovariateRequest
from motet.bids.plausible import far_features, far_rows, far_values, outliers, spreads_off
from motet.bids.read import read_site
from motet.bids.table import Table
from motet.errors import DataError

AGES = [20.0 + (7 * i) % 31 for i in range(40)]
AUTO = {"age": CovariateRequest()}
rng = np.random.default_rng(2)
LESIONS = np.where(rng.random(300) < 0.6, 0.0, np.exp(rng.normal(0, 1.5, 300))).round(4).tolist()


def read(folder: Path, ages: list[float | str]) -> Table:
    """A site of one person an age."""
    people = [f"sub-{i:03d}" for i in range(len(ages))]
    rows = [f"{who}\t{age}" for who, age in zip(people, ages, strict=True)]
    (folder / "participants.tsv").write_text("\n".join(["participant_id\tage", *rows]))
    values = [f"{who}\t{i}" for i, who in enumerate(people)]
    (folder / "features.tsv").write_text("\n".join(["participant_id\tlh", *values]))
    return read_site(folder, site="oak", covariates=AUTO)


@pytest.mark.parametrize(
    ("known", "code", "often"),
    [
        (AGES, -9999, 1),
        (AGES, -9999, 14),
        (AGES, -888, 3),
        (AGES, -99999999, 1),
        ([0.0] * 40, -999, 1),
        ([], -99, 1),
    ],
)
def test_codes_of_missing_values_are_refused(
    tmp_path: Path, known: list[float], code: float, often: int
) -> None:
    """Catches a missing age that is fitted as an age: also of a third, and where most have 0."""
    with pytest.raises(DataError, match="stands for a missing value in many tables") as error:
        read(tmp_path, [*known, *[code] * often])
    assert error.value.where["person"] == f"sub-{len(known):03d}"
    assert error.value.where["column"] == "age"
    assert str(code) in str(error.value)


@pytest.mark.parametrize(
    "values",
    [[*AGES, -9999.0, -1.5], [*AGES, -99.5], [*AGES, 999.0], [*AGES, -9.0]],
    ids=["others lie below zero", "no code", "above zero", "a nine"],
)
def test_what_may_be_meant_is_not_refused(tmp_path: Path, values: list[float]) -> None:
    """Catches measurements that nobody can harmonize, since they look like something else."""
    assert len(read(tmp_path, list(values))) == len(values)


@pytest.mark.parametrize("wrong", [950, 250, -400, 999, 9999, 19800101, -1e9])
def test_far_numbers_are_told_of(tmp_path: Path, wrong: float) -> None:
    """Catches a site that is not told whose age bends everybody's slopes."""
    table = read(tmp_path, [*AGES, wrong])
    assert far_rows(table, {"age"}).nonzero()[0].tolist() == [40]
    (sentence,) = far_values(table)
    assert f"'age' of sub-040 ({wrong:.12g}) is far from everybody's" in sentence


ORDINARY: dict[str, list[float]] = {
    "ages": AGES,
    "a site of students with a teacher": [20.0] * 30 + [21.0] * 20 + [64.0],
    "a code of a sex": [1.0] * 30 + [2.0],
    "codes that lie apart": [1.0] * 55 + [9.0] * 5,
    "indicators": [0.0] * 30 + [1.0],
    "an age of 99 among the old": [*np.linspace(70, 95, 20).tolist(), 99.0],
    "one person": [31.0],
    "two": [8.0, 80.0],
    "volumes of lesions, of most people none": LESIONS,
    "a few of them": [*sorted(LESIONS)[170:182], max(LESIONS) / 9],
    "skewed": np.exp(0.7 * np.random.default_rng(0).normal(size=500)).tolist(),
    "standardized": np.random.default_rng(0).standard_t(5, size=500).tolist(),
    "the same of everybody": [3.0] * 9,
}


@pytest.mark.parametrize("values", ORDINARY.values(), ids=list(ORDINARY))
def test_ordinary_numbers_are_let_be(tmp_path: Path, values: list[float]) -> None:
    """Catches a warning that people learn to read over, and people who are left out for a trait."""
    table = read(tmp_path, list(values))
    assert not far_rows(table, {"age"}).any()
    assert not far_values(table)


@given(st.floats(0.01, 100.0))
def test_units_make_no_difference(factor: float) -> None:
    """Catches a rule that is of years."""
    values = np.array([*AGES, 950.0])
    assert np.allclose(spreads_off(values * factor), spreads_off(values))
    assert outliers(values * factor).tolist() == [False] * 40 + [True]


def test_a_column_that_the_method_does_not_see_leaves_nobody_out(tmp_path: Path) -> None:
    """Catches effects that depend on what the evaluation reads beside the covariates."""
    table = read(tmp_path, [*AGES, 950])
    assert not far_rows(table, ()).any()


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("34,5", "Write it with a decimal point: 34.5."),
        ("25y", "Write the number alone: 25."),
        ("25,5 years", "Write the number alone: 25.5."),
        ("1,450", "Write it with a decimal point, 1.450, or as 1450."),
        ("18m", "or say that the covariate is categorical"),
        ("old", "or say that the covariate is categorical"),
    ],
)
def test_a_number_as_people_write_it_is_given_back(tmp_path: Path, cell: str, says: str) -> None:
    """Catches advice to call an age a category, and a thousandth of a number."""
    with pytest.raises(DataError) as error:
        read(tmp_path, [*AGES, cell])
    assert says in str(error.value)


def of_features(folder: Path, values: np.ndarray) -> Table:
    """A site of (n, p) features."""
    people = [f"sub-{i:03d}" for i in range(len(values))]
    (folder / "participants.tsv").write_text("\n".join(["participant_id", *people]))
    rows = [
        "\t".join([who, *("n/a" if np.isnan(v) else repr(float(v)) for v in row)])
        for who, row in zip(people, values, strict=True)
    ]
    header = "\t".join(["participant_id", *(f"f{j}" for j in range(values.shape[1]))])
    (folder / "features.tsv").write_text("\n".join([header, *rows]))
    return read_site(folder, site="oak", covariates={})


def thicknesses() -> np.ndarray:
    values = np.random.default_rng(0).normal(2.5, 0.2, (40, 6))
    values[3, 2] = np.nan
    values[:, 5] -= 2.5  # a feature that may be negative
    return values


def test_a_feature_that_is_a_code_is_refused(tmp_path: Path) -> None:
    """Catches a thickness of -9999 that ruins the feature at every site."""
    values = thicknesses()
    assert len(of_features(tmp_path, values)) == 40
    values[7, 5] = -99.0  # others are below zero, too
    assert len(of_features(tmp_path, values)) == 40
    values[9, 2] = -9999.0
    with pytest.raises(DataError, match="Write n/a where a value is missing") as error:
        of_features(tmp_path, values)
    assert error.value.where["person"] == "sub-009"
    assert error.value.where["feature"] == "f2"


def test_a_far_feature_is_told_of(tmp_path: Path) -> None:
    """Catches a value in another unit, of which only the sites hear that it ruins."""
    values = thicknesses()
    assert far_features(of_features(tmp_path, values)) == []
    values[9, [1, 4]] *= 1000.0
    values[11, 2] = -3000.0
    first, second = far_features(of_features(tmp_path, values))
    assert first.startswith("sub-009 is far from everybody's here in f1 (")
    assert ", f4 (" in first
    assert second.startswith("sub-011 is far from everybody's here in f2 (-3000)")

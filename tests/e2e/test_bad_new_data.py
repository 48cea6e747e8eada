"""New data that do not fit the model: a sentence, and no derivative appears."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from e2e.consortium import FEATURES, applied, files, motet, read_values, refused
from e2e.spoil import Spoil


def reshaped(change: Callable[[pd.DataFrame], pd.DataFrame], name: str = "features.tsv") -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "dune" / name
        frame = pd.read_csv(path, sep="\t", dtype="str", keep_default_na=False)
        change(frame).to_csv(path, sep="\t", index=False)

    return spoil


def with_cell(column: str, value: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[2, column] = value
        return frame

    return change


PEOPLE = "participants.tsv"
NEW_DATA: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "a feature less": (reshaped(lambda f: f.drop(columns="lh_insula")), ("dune", "lh_insula")),
    "a feature more": (reshaped(lambda f: f.assign(extra="1")), ("dune", "extra")),
    "another feature": (
        reshaped(lambda f: f.rename(columns={"lh_insula": "lh_Insula"})),
        ("dune", "lh_insula", "lh_Insula"),
    ),
    "another order": (
        reshaped(lambda f: f[["participant_id", *FEATURES[::-1]]]),
        ("dune", FEATURES[0], FEATURES[-1], "order"),
    ),
    "infinite value": (
        reshaped(with_cell("rh_insula", "inf")),
        ("dune", "features.tsv", "sub-dune03", "rh_insula"),
    ),
    "unknown level": (
        reshaped(with_cell("sex", "male"), PEOPLE),
        ("dune", PEOPLE, "sex", "'male'", "sub-dune03", "F, M"),
    ),
    "covariate missing": (reshaped(lambda f: f.drop(columns="age"), PEOPLE), ("dune", "'age'")),
    "covariate of nobody": (
        reshaped(with_cell("age", "n/a"), PEOPLE),
        ("dune", PEOPLE, "age", "sub-dune03"),
    ),
    "covariate that is a code": (
        reshaped(with_cell("age", "-9999"), PEOPLE),
        ("dune", PEOPLE, "age", "-9999", "sub-dune03", "stands for a missing value"),
    ),
    "covariate as text": (
        reshaped(with_cell("age", "old"), PEOPLE),
        ("dune", PEOPLE, "age", "'old'", "sub-dune03"),
    ),
}


@pytest.mark.parametrize(("spoil", "named"), NEW_DATA.values(), ids=NEW_DATA)
def test_new_data_of_another_kind(spoil: Spoil, named: tuple[str, ...], folder: Path) -> None:
    """Catches a column, level or order of the model's being guessed."""
    spoil(folder)
    before = files(folder)
    line = refused(applied(folder), *named)
    assert "study file" not in line, f"there is no study file at apply: {line}"
    assert files(folder) == before


def test_unknown_participant(folder: Path) -> None:
    """Catches a misspelled label that writes an empty derivative, or everybody."""
    words = ("--participant-label", "dune03", "--participant-label", "dune99")
    refused(applied(folder, "dune", "out", *words), "dune", "dune99")
    assert not (folder / "new").exists()


def test_output_over_the_input_or_foreign_files(folder: Path) -> None:
    """Catches raw data replaced by harmonized ones, and foreign files lost."""
    before = files(folder)
    data, model = folder / "dune", folder / "out"
    for out in (data, folder):
        refused(motet("apply", data, out, "participant", "--model", model), str(out))
    (folder / "new").mkdir()
    (folder / "new" / "notes.txt").write_text("mine")
    refused(applied(folder), str(folder / "new"))
    assert files(folder) == before | {"new/notes.txt": b"mine"}


def test_one_slip_moves_nobody_else(folder: Path) -> None:
    """Catches effects of a new site that one mistyped age shifts for everybody there."""
    data, out = folder / "dune", folder / "new"
    whole = {name: (data / name).read_text() for name in (PEOPLE, "features.tsv")}
    for name, text in whole.items():
        (data / name).write_text("".join(x for x in text.splitlines(True) if "dune03" not in x))
    assert applied(folder).code == 0
    without = read_values(out)
    for name, text in whole.items():
        (data / name).write_text(text)
    reshaped(with_cell("age", "950"), PEOPLE)(folder)
    ran = motet("apply", data, folder / "again", "participant", "--model", folder / "out")
    assert ran.code == 0
    assert "'age' of sub-dune03 (950) is far from everybody's" in ran.out
    assert "estimated without sub-dune03, harmonized all the same" in ran.out
    found = read_values(folder / "again")
    assert found.drop(index="sub-dune03").equals(without)
    assert found.loc["sub-dune03"].notna().all()


def test_a_slip_counts_in_its_own_batch_alone(folder: Path) -> None:
    """Catches a scanner of one person, whose slip is all there is of it, that lets another's in."""
    data = folder / "dune"
    people = pd.read_csv(data / PEOPLE, sep="\t")
    people["scanner"] = ["s1"] * 10 + ["s2", "s3"]
    people.to_csv(data / PEOPLE, sep="\t", index=False)
    assert applied(folder).code == 0
    before = read_values(folder / "new")
    people.loc[[2, 11], "age"] = 950.0, 1000.0
    people.to_csv(data / PEOPLE, sep="\t", index=False)
    ran = motet("apply", data, folder / "again", "participant", "--model", folder / "out")
    assert ran.code == 0
    assert "Effects of s1 are estimated without sub-dune03, harmonized" in ran.out
    people = people.drop(index=2)
    people.loc[11, "age"] = 50.0
    people.to_csv(data / PEOPLE, sep="\t", index=False)
    values = pd.read_csv(data / "features.tsv", sep="\t").drop(index=2)
    values.to_csv(data / "features.tsv", sep="\t", index=False)
    ran = motet("apply", data, folder / "without", "participant", "--model", folder / "out")
    assert ran.code == 0
    rest = people.participant_id[people.scanner != "s3"]
    found, expected = read_values(folder / "again"), read_values(folder / "without")
    assert found.loc[rest].equals(expected.loc[rest])
    assert not before.loc[rest].equals(expected.loc[rest]), "nobody was left out"


def test_below_zero_is_told_of_who_is_written(folder: Path) -> None:
    """Catches numbers of people whom nobody asked for."""
    data = folder / "data" / "cedar"
    values = pd.read_csv(data / "features.tsv", sep="\t")
    values.iloc[0, 1:] = 0.0001  # what is taken away of a scanner's shift leaves less than nothing
    values.to_csv(data / "features.tsv", sep="\t", index=False)
    assert "below zero (" in applied(folder, "cedar").out
    for label, told in (("cedar05", False), ("cedar01", True)):
        words = ("--model", folder / "out", "--participant-label", label)
        ran = motet("apply", data, folder / label, "participant", *words)
        assert ran.code == 0
        assert ("below zero (" in ran.out) == told

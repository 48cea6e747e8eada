"""Every bad input: exit code 2, one sentence with names in it, nothing lost or half-written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from e2e.consortium import FEATURES, Ran, consortium, files, motet, people_of, write_site

Spoil = Callable[[Path], object]


def refused(ran: Ran, *named: str) -> str:
    """Assert that a command was refused in one line that names all of `named`; the line."""
    assert ran.code == 2, f"exit code {ran.code}: {ran.out}{ran.err}"
    assert "Traceback" not in ran.err + ran.out
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1, f"more than a line: {ran.err}"
    for word in named:
        assert word in ran.err, f"does not name '{word}': {ran.err}"
    # A sentence of ours, not the text of somebody's exception.
    assert not re.search(r"\b(KeyError|ValueError|TypeError|IndexError|nan\b)", ran.err), ran.err
    return ran.err


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "data" / name, sep="\t", dtype="str", keep_default_na=False)


def put(folder: Path, name: str, frame: pd.DataFrame) -> None:
    frame.to_csv(folder / "data" / name, sep="\t", index=False)


def drop_row(name: str, row: int) -> Spoil:
    return lambda folder: put(folder, name, table(folder, name).drop(index=row))


def repeat_row(name: str, row: int) -> Spoil:
    def spoil(folder: Path) -> None:
        frame = table(folder, name)
        put(folder, name, pd.concat([frame, frame.iloc[[row]]]))

    return spoil


def cell(name: str, row: int, column: str, value: str) -> Spoil:
    def spoil(folder: Path) -> None:
        frame = table(folder, name)
        frame.loc[row, column] = value
        put(folder, name, frame)

    return spoil


def column(sites: str, name: str, value: Callable[[pd.DataFrame], object]) -> Spoil:
    """Give participants.tsv of some sites a column."""

    def spoil(folder: Path) -> None:
        for site in sites.split():
            frame = table(folder, f"{site}/participants.tsv")
            put(folder, f"{site}/participants.tsv", frame.assign(**{name: value(frame)}))

    return spoil


def without(name: str, gone: str) -> Spoil:
    return lambda folder: put(folder, name, table(folder, name).drop(columns=gone))


def in_order(name: str, columns: list[str]) -> Spoil:
    return lambda folder: put(folder, name, table(folder, name)[["participant_id", *columns]])


def remove(name: str) -> Spoil:
    return lambda folder: (folder / "data" / name).unlink()


def covariates(*names: str) -> dict[str, object]:
    return {"params": {"covariates": list(names)}}


ALL = "ash birch cedar"
SWAPPED = [FEATURES[1], FEATURES[0], *FEATURES[2:]]
AGES = {"ash": "30", "birch": "40", "cedar": "50"}

DATA: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "no participants.tsv": (remove("birch/participants.tsv"), ("birch", "participants.tsv")),
    "no features.tsv": (remove("birch/features.tsv"), ("birch", "features.tsv")),
    "person without measures": (
        drop_row("birch/features.tsv", 3),
        ("birch", "features.tsv", "sub-birch04"),
    ),
    "measures without person": (
        drop_row("birch/participants.tsv", 3),
        ("birch", "participants.tsv", "sub-birch04"),
    ),
    "person twice in participants": (
        repeat_row("birch/participants.tsv", 2),
        ("birch", "participants.tsv", "sub-birch03"),
    ),
    "person twice in features": (
        repeat_row("birch/features.tsv", 2),
        ("birch", "features.tsv", "sub-birch03"),
    ),
    "text in a feature": (
        cell("cedar/features.tsv", 4, "lh_insula", "thick"),
        ("cedar", "features.tsv", "sub-cedar05", "lh_insula", "'thick'"),
    ),
    "decimal comma": (
        cell("cedar/features.tsv", 4, "lh_insula", "2,51"),
        ("cedar", "features.tsv", "sub-cedar05", "lh_insula", "'2,51'", "decimal point"),
    ),
    "True in a feature": (
        cell("cedar/features.tsv", 4, "lh_insula", "True"),
        ("cedar", "features.tsv", "sub-cedar05", "lh_insula", "'True'"),
    ),
    "infinite": (
        cell("ash/features.tsv", 0, "rh_insula", "inf"),
        ("ash", "features.tsv", "sub-ash01", "rh_insula", "infinite"),
    ),
    "minus infinite": (
        cell("ash/features.tsv", 0, "rh_insula", "-Infinity"),
        ("ash", "features.tsv", "sub-ash01", "rh_insula", "infinite"),
    ),
    "feature missing at a site": (
        without("cedar/features.tsv", "rh_cuneus"),
        ("cedar", "rh_cuneus", "ash, birch"),
    ),
    "feature too many at a site": (
        lambda folder: put(
            folder,
            "ash/features.tsv",
            table(folder, "ash/features.tsv").assign(extra="1.0"),
        ),
        ("ash", "extra", "birch, cedar"),
    ),
    "features in another order": (
        in_order("ash/features.tsv", SWAPPED),
        ("ash", "lh_insula", "lh_cuneus", "order"),
    ),
    "covariate missing at a site": (
        without("birch/participants.tsv", "age"),
        ("birch", "participants.tsv", "age"),
    ),
    "covariate misspelled at a site": (
        lambda folder: put(
            folder,
            "birch/participants.tsv",
            table(folder, "birch/participants.tsv").rename(columns={"age": "Age"}),
        ),
        ("birch", "participants.tsv", "'age'", "Did you mean 'Age'?"),
    ),
    "covariate missing for a person": (
        cell("birch/participants.tsv", 5, "age", "n/a"),
        ("birch", "participants.tsv", "age", "sub-birch06"),
    ),
    "covariate is text at a site": (
        column("birch", "age", lambda frame: "old"),
        ("birch", "participants.tsv", "age"),
    ),
    "typing error in a covariate": (
        cell("birch/participants.tsv", 5, "age", "4o"),
        ("birch", "participants.tsv", "age", "sub-birch06", "'4o'"),
    ),
    "number constant overall": (column(ALL, "age", lambda frame: "44"), ("age", "constant")),
    "level constant overall": (column(ALL, "sex", lambda frame: "F"), ("sex", "'F'", "constant")),
    "file without rows": (
        lambda folder: put(
            folder, "ash/participants.tsv", table(folder, "ash/participants.tsv").iloc[:0]
        ),
        ("ash", "participants.tsv"),
    ),
    "empty file": (
        lambda folder: (folder / "data/ash/features.tsv").write_text(""),
        ("ash", "features.tsv", "empty"),
    ),
    "short row": (
        lambda folder: (folder / "data/ash/features.tsv").open("a").write("sub-ash99\t1.0\n"),
        ("ash", "features.tsv", "Line 18"),
    ),
    "spreadsheet instead of text": (
        lambda folder: (folder / "data/ash/participants.tsv").write_bytes(b"PK\x03\x04\xff\xfe"),
        ("ash", "participants.tsv", "UTF-8"),
    ),
}


@pytest.mark.parametrize("command", ["simulate", "plan"])
@pytest.mark.parametrize(("spoil", "named"), DATA.values(), ids=DATA)
def test_data_of_a_site(spoil: Spoil, named: tuple[str, ...], command: str, tmp_path: Path) -> None:
    """Catches a traceback, a sentence that does not say where, and an output folder left behind."""
    study = consortium(tmp_path)
    spoil(tmp_path)
    before = files(tmp_path)
    ran = motet(command, study, *(["--out", tmp_path / "out"] if command == "simulate" else []))
    refused(ran, *named)
    assert files(tmp_path) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_value_in_an_array(value: float, tmp_path: Path) -> None:
    """Catches the npy form, which is read block by block, failing only when files are out."""
    study = consortium(tmp_path, form="npy")
    values = np.load(tmp_path / "data/ash/features.npy")
    values[6, 2] = value
    np.save(tmp_path / "data/ash/features.npy", values)
    before = files(tmp_path)
    ran = motet("simulate", study, "--out", tmp_path / "out")
    refused(ran, "ash", "features.npy", "sub-ash07", FEATURES[2], "infinite")
    assert files(tmp_path) == before


DESIGNS: dict[str, tuple[Spoil, tuple[str, ...], tuple[str, ...]]] = {
    "collinear": (
        column(ALL, "months", lambda frame: (frame["age"].astype(float) * 12).astype(str)),
        ("age", "sex", "months"),
        ("age", "months", "collinear"),
    ),
    "level at one site only": (
        lambda folder: [column(s, "dx", lambda f, s=s: s[:4])(folder) for s in ALL.split()],
        ("age", "dx"),
        ("dx", "ash", "birch", "cedar", "confounded"),
    ),
    "patients at one site only": (
        lambda folder: (
            column("ash birch", "dx", lambda frame: "control")(folder),
            column("cedar", "dx", lambda frame: "patient")(folder),
        ),
        ("age", "dx"),
        ("dx", "'control' only at ash, birch", "'patient' only at cedar", "confounded"),
    ),
    "number that is one at each site": (
        lambda folder: [column(s, "dose", lambda f, s=s: AGES[s])(folder) for s in ALL.split()],
        ("age", "dose"),
        ("dose", "ash, birch, cedar", "confounded"),
    ),
    "level of one site while others vary": (
        lambda folder: (
            column("ash birch", "dx", lambda f: np.where(np.arange(len(f)) % 2, "AD", "CN"))(
                folder
            ),
            column("cedar", "dx", lambda frame: "FTD")(folder),
        ),
        ("age", "dx"),
        ("dx=FTD", "cedar", "confounded"),
    ),
}


@pytest.mark.parametrize("form", ["tsv", "npy"])
@pytest.mark.parametrize(("spoil", "names", "named"), DESIGNS.values(), ids=DESIGNS)
def test_covariates_that_cannot_be_told_apart(
    spoil: Spoil, names: tuple[str, ...], named: tuple[str, ...], form: str, tmp_path: Path
) -> None:
    """Catches arbitrary coefficients, a sentence without the sites, and half an output folder."""
    study = consortium(tmp_path, form=form, **covariates(*names))
    spoil(tmp_path)
    before = files(tmp_path)
    refused(motet("simulate", study, "--out", tmp_path / "out"), *named)
    assert files(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_unknown_site_folder(tmp_path: Path) -> None:
    """Catches a study file that names a folder which is not there."""
    study = consortium(tmp_path, sites=("ash", "birch"))
    study.write_text(study.read_text().replace("data/birch", "data/brich"))
    ran = motet("simulate", study, "--out", tmp_path / "out")
    refused(ran, "birch", "data/brich", "does not exist")
    assert not (tmp_path / "out").exists()


def test_two_sites_that_are_one_folder(tmp_path: Path) -> None:
    """Catches one hospital counted twice by a copied line of the study file."""
    study = consortium(tmp_path)
    study.write_text(study.read_text().replace("data/birch", "data/ash"))
    refused(motet("simulate", study, "--out", tmp_path / "out"), "ash", "birch")
    assert not (tmp_path / "out").exists()


def test_nothing_is_left_after_a_failed_run_in_an_existing_folder(tmp_path: Path) -> None:
    """Catches an empty folder made by the user beforehand being filled by a run that fails."""
    study = consortium(tmp_path)
    people, values = people_of("birch", 2)
    write_site(tmp_path / "data/birch", people.assign(sex=["F", "X"]), values * np.inf)
    (tmp_path / "out").mkdir()
    assert motet("simulate", study, "--out", tmp_path / "out").code == 2
    assert list((tmp_path / "out").iterdir()) == []

"""Every bad input: exit code 2, one sentence with names in it, nothing lost or half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2e.consortium import FEATURES, consortium, files, motet, people_of, refused, write_site
from e2e.spoil import (
    Spoil,
    append,
    cell,
    column,
    drop_row,
    in_order,
    put,
    remove,
    repeat_row,
    table,
    without,
)

ALL = "ash birch cedar"
SWAPPED = [FEATURES[1], FEATURES[0], *FEATURES[2:]]

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
        lambda folder: append(folder / "data/ash/features.tsv", "sub-ash99\t1.0\n"),
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
    refused(ran, "ash", "sub-ash07", FEATURES[2], str(value))
    assert files(tmp_path) == before


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


def test_failed_run_in_a_folder_of_the_users_own(tmp_path: Path) -> None:
    """Catches the plan of a study that failed staying in a folder that the user made."""
    study = consortium(tmp_path, form="npy")
    people, values = people_of("birch", 16)
    values[3, 1] = np.inf
    write_site(tmp_path / "data/birch", people, values, form="npy")
    (tmp_path / "out").mkdir()
    assert motet("simulate", study, "--out", tmp_path / "out").code == 2
    assert list((tmp_path / "out").iterdir()) == []

"""Study files and output folders that cannot be used: a sentence, and nothing is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.consortium import consortium, files, motet, refused, succeeded, write_study

KEYS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # what: (text in the study file, what it becomes, what the sentence names)
    "method": ("method: combat", "method: conbat", ("method", "'conbat'", "'combat'?")),
    "key": ("seed: 1", "sead: 1", ("sead", "Did you mean 'seed'?")),
    "section": ("seed: 1", "evaluations: {held_out: 0.2}", ("Did you mean 'evaluation'?",)),
    "key in a section": (
        "metrics: none",
        "holdout: 0.2",
        ("evaluation.holdout", "Did you mean 'held_out'?"),
    ),
    "key in params": ("seed: 1", "", ("params.pryor", "Did you mean 'prior'?")),
    "value": ("metrics: none", "held_out: 2", ("evaluation.held_out", "2")),
    "value that is text": ("seed: 1", "seed: one", ("seed", "one")),
    "missing key": ("method: combat", "", ("method", "missing")),
    "key given twice": ("seed: 1", "seed: 1\nseed: 2", ("seed", "twice", "line")),
    "not YAML": ("seed: 1", "seed: [1", ("line",)),
    "a list": ("seed: 1", None, ("study:",)),
    "target": ("seed: 1", "target: birch", ("target", "birch", "reference")),
    "trained": ("seed: 1", "train: {rounds: 3}", ("train",)),
    "private": ("seed: 1", "privacy: {dp: {epsilon: 3}}", ("privacy.dp", "combat", "none")),
    "covariate type": (
        "seed: 1",
        "",
        ("params.covariates.age", "Did you mean 'continuous'?"),
    ),
}
PARAMS = {
    "key in params": "params: {covariates: [age], pryor: none}",
    "covariate type": "params: {covariates: {age: continous}}",
}


@pytest.mark.parametrize("command", ["simulate", "plan"])
@pytest.mark.parametrize("what", KEYS)
def test_study_file(what: str, command: str, tmp_path: Path) -> None:
    """Catches an error without file and key, or without the nearest right name."""
    study = consortium(tmp_path)
    old, new, named = KEYS[what]
    text = study.read_text()
    if what in PARAMS:
        start = text.index("params:")
        text = f"{text[:start]}{PARAMS[what]}\n{text[text.index('sites:') :]}"
    else:
        assert old in text
        text = "- combat\n" if new is None else text.replace(old, new)
    study.write_text(text)
    before = files(tmp_path)
    ran = motet(command, study, *(["--out", tmp_path / "out"] if command == "simulate" else []))
    refused(ran, "study.yaml", *named)
    assert files(tmp_path) == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["simulate", "plan"])
@pytest.mark.parametrize("sites", [("ash",), ()], ids=["one", "none"])
def test_too_few_sites(sites: tuple[str, ...], command: str, tmp_path: Path) -> None:
    """Catches a 'federation' of one: there is nothing to harmonize, and its data would be it."""
    study = consortium(tmp_path, sites=sites)
    ran = motet(command, study, *(["--out", tmp_path / "out"] if command == "simulate" else []))
    refused(ran, "sites", *sites)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("quorum", [4, 1])
def test_quorum_that_cannot_be(quorum: int, tmp_path: Path) -> None:
    """Catches a quorum above the number of sites being found out only when all is written."""
    study = consortium(tmp_path, federation={"quorum": quorum})
    refused(motet("simulate", study, "--out", tmp_path / "out"), str(quorum))
    assert not (tmp_path / "out").exists()


def test_unknown_reference(tmp_path: Path) -> None:
    """Catches a reference batch that nobody has, found only in the middle of the run."""
    study = consortium(tmp_path, params={"covariates": ["age"], "reference": "birhc"})
    ran = motet("simulate", study, "--out", tmp_path / "out")
    refused(ran, "reference", "'birhc'", "Did you mean 'birch'?")
    assert not (tmp_path / "out").exists()


def test_no_study_file(tmp_path: Path) -> None:
    """Catches a traceback for a path with a typing error, or for a folder."""
    refused(motet("simulate", tmp_path / "stduy.yaml", "--out", tmp_path / "out"), "stduy.yaml")
    refused(motet("plan", tmp_path), str(tmp_path))
    assert not (tmp_path / "out").exists()


def test_folder_of_another_study(tmp_path: Path) -> None:
    """Catches a study overwriting, or mixing with, the results of another one."""
    study = consortium(tmp_path)
    succeeded("simulate", study, "--out", tmp_path / "out")
    before = files(tmp_path / "out")
    other = write_study(
        tmp_path / "other.yaml", {s: f"data/{s}" for s in ("ash", "birch", "cedar")}, study="second"
    )
    ran = motet("simulate", other, "--out", tmp_path / "out")
    refused(ran, str(tmp_path / "out"), "'made-up'", "'second'")
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize("name", ["notes.txt", "plan.json", ".hidden"])
def test_folder_with_foreign_files(name: str, tmp_path: Path) -> None:
    """Catches files that are not Motet's being mixed with ours, or lost."""
    study = consortium(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"my": "notes"}')
    before = files(tmp_path)
    words = ("--out", tmp_path / "out")
    refused(motet("simulate", study, *words), str(tmp_path / "out"), "not empty")
    refused(motet("demo", *words), str(tmp_path / "out"), "not empty")
    data = tmp_path / "data/ash"
    pooled = data / "features.tsv"
    ran = motet("split", pooled, "--by", "participant_id", *words)
    refused(ran, str(tmp_path / "out"))
    assert files(tmp_path) == before


@pytest.mark.parametrize("where", ["data", "data/ash", "."])
def test_results_into_the_data(where: str, tmp_path: Path) -> None:
    """Catches harmonized values written among the raw ones, or over them."""
    study = consortium(tmp_path)
    before = files(tmp_path)
    refused(motet("simulate", study, "--out", tmp_path / where), str(tmp_path / where))
    assert files(tmp_path) == before


@pytest.mark.parametrize("command", ["simulate", "demo", "split", "apply"])
@pytest.mark.parametrize("below", ["", "deeper"])
def test_file_where_the_folder_should_be(command: str, below: str, tmp_path: Path) -> None:
    """Catches a traceback, or the file being replaced by a folder."""
    study = consortium(tmp_path)
    (tmp_path / "out").write_text("mine")
    out = tmp_path / "out" / below
    pooled = tmp_path / "data/ash/features.tsv"
    if command == "apply":
        succeeded("simulate", study, "--out", tmp_path / "model")
    words: dict[str, tuple[object, ...]] = {
        "simulate": (study, "--out", out),
        "demo": ("--out", out),
        "split": (pooled, "--by", "participant_id", "--out", out),
        "apply": (tmp_path / "data/ash", out, "participant", "--model", tmp_path / "model"),
    }
    refused(motet(command, *words[command]), str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--by", "hospital"), ("pooled.csv", "hospital", "Did you mean 'hospitl'?")),
        (("--by", "hospitl", "--id", "id"), ("pooled.csv", "id")),
        (("--by", "hospitl", "--covariates", "agee"), ("agee", "Did you mean 'age'?")),
        (("--by", "hospitl", "--features", "*_thickness"), ("*_thickness",)),
        (("--by", "hospitl", "--sites", "ash,birhc"), ("birhc", "Did you mean 'birch'?")),
    ],
)
def test_split_of_a_table(words: tuple[str, ...], named: tuple[str, ...], tmp_path: Path) -> None:
    """Catches a misspelled column that is silently left out, or a folder made before the check."""
    (tmp_path / "pooled.csv").write_text(
        "participant_id,hospitl,age,f1\np1,ash,30,1.5\np2,birch,40,2.5\n"
    )
    ran = motet("split", tmp_path / "pooled.csv", *words, "--out", tmp_path / "out")
    refused(ran, *named)
    assert not (tmp_path / "out").exists()


def test_methods_names_the_nearest() -> None:
    """Catches a traceback of 'motet methods' with a name that is not there."""
    refused(motet("methods", "comabt"), "comabt", "Did you mean 'combat'?")

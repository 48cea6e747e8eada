"""Study files: every mistake ends in a sentence with the file, the key and the likely cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from motet.config import load_study, parse_study
from motet.errors import StudyFileError, UnknownMethodError
from motet.params import parse_params

GOOD = """
study: ixi
method: combat
params: {covariates: [age, sex], batch: scanner}
sites: {guys: data/guys, hh: /elsewhere/hh}
evaluation: {held_out: 0.2}
federation: {quorum: 3, timeout: 600}
seed: 1
"""


def load(text: str | bytes, folder: Path) -> Any:
    path = folder / "study.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_study(path)


def test_good_file_is_read(tmp_path: Path) -> None:
    """Catches folders taken relative to where the command runs instead of to the file."""
    study = load(GOOD, tmp_path)
    assert (study.study, study.method, study.seed) == ("ixi", "combat", 1)
    assert study.sites == {"guys": tmp_path / "data/guys", "hh": Path("/elsewhere/hh")}
    assert (study.federation.quorum, study.evaluation.held_out) == (3, 0.2)


def test_json_is_yaml_too(tmp_path: Path) -> None:
    """Catches a loader that depends on YAML's block style."""
    assert load('{"study": "a", "method": "combat", "params": {}}', tmp_path).study == "a"


def test_empty_sections_are_empty(tmp_path: Path) -> None:
    """Catches 'params:' with nothing behind it being an error."""
    assert load("study: a\nmethod: combat\nparams:\nsites:\n", tmp_path).params == {}


CASES = {
    "unknown key": (GOOD.replace("seed:", "sead:"), "sead", "Did you mean 'seed'?"),
    "unknown key below": (GOOD.replace("quorum", "qorum"), "federation.qorum", "'quorum'"),
    "unknown key like nothing": (GOOD + "xyzzy: 1\n", "xyzzy", "Known here: study, method"),
    "given twice": (GOOD + "seed: 2\n", "seed", "twice (line 9)"),
    "given twice below": (GOOD.replace("quorum: 3", "timeout: 3"), "timeout", "twice"),
    "missing": (GOOD.replace("method: combat\n", ""), "method", "missing"),
    "wrong type": (GOOD.replace("seed: 1", "seed: one"), "seed", "'one'"),
    "wrong type below": (
        GOOD.replace("timeout: 600", "timeout: soon"),
        "federation.timeout",
        "soon",
    ),
    "out of range": (GOOD.replace("0.2", "1.5"), "evaluation.held_out", "1.5"),
    "quorum of one": (GOOD.replace("quorum: 3", "quorum: 1"), "federation.quorum", "1"),
    "section is a word": (GOOD.replace("{quorum: 3, timeout: 600}", "fast"), "federation", "fast"),
    "rows of no sums": (
        GOOD.replace("held_out: 0.2", "metrics: uncontrolled, by_batch: true"),
        "evaluation",
        "by_batch is of sums",
    ),
    "empty name": (GOOD.replace("study: ixi", "study: ''"), "study", "''"),
    "no epsilon": (GOOD + "privacy: {dp: {delta: 1.0e-5}}\n", "privacy.dp.epsilon", "missing"),
    "epsilon by another name": (
        GOOD + "privacy: {dp: {eps: 3}}\n",
        "privacy.dp.eps",
        "Did you mean 'epsilon'?",
    ),
    "epsilon of 0": (GOOD + "privacy: {dp: {epsilon: 0}}\n", "privacy.dp.epsilon", "more than 0"),
    "delta of 1": (GOOD + "privacy: {dp: {epsilon: 1, delta: 1}}\n", "privacy.dp.delta", "less"),
    "clip of 0": (
        GOOD + "privacy: {dp: {epsilon: 1, clip: 0}}\n",
        "privacy.dp.clip",
        "more than 0",
    ),
    "dp is a word": (GOOD + "privacy: {dp: please}\n", "privacy.dp", "please"),
    "epsilon without end": (GOOD + "privacy: {dp: {epsilon: .inf}}\n", "privacy.dp.epsilon", "inf"),
    "privacy of a kind": (GOOD + "privacy: {secure: true}\n", "privacy.secure", "secure_sum"),
}


@pytest.mark.parametrize("what", CASES)
def test_mistake_names_file_and_key(what: str, tmp_path: Path) -> None:
    """Catches a validation traceback, or a sentence that leaves the reader searching."""
    text, key, says = CASES[what]
    with pytest.raises(StudyFileError) as error:
        load(text, tmp_path)
    assert error.value.where["key"] == key
    assert error.value.where["file"] == str(tmp_path / "study.yaml")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("study: [a\nmethod: b\n", "line"),
        ("study: a\n\tmethod: b\n", "line 2"),
        ("- a\n- b\n", "keys"),
        ("", "keys"),
        ("just words", "keys"),
        ("a: &x [*x]\nstudy: s\nmethod: m\n", ""),
        ("study: !!python/object/apply:os.system [ls]\nmethod: combat\n", ""),
        ("? [1, 2]\n: 3\n", ""),
        ("? {a: 1}\n: 3\n", ""),
        ("<<: 3\n", ""),
        ("<<: {study: a}\nstudy: b\nmethod: combat\nbad: 1\n", ""),
        (b"study: \xff\xfe\n", ""),
        (b"study: a\x00b\n", ""),
        ("1: 2\nstudy: a\nmethod: combat\n", ""),
    ],
)
def test_what_is_no_study_file_is_refused_with_its_name(
    text: str | bytes, says: str, tmp_path: Path
) -> None:
    """Catches YAML's own exceptions, keys that cannot be hashed, and objects made by a file."""
    with pytest.raises(StudyFileError) as error:
        load(text, tmp_path)
    assert error.value.where["file"] == str(tmp_path / "study.yaml")
    assert says in str(error.value)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """Catches a FileNotFoundError without a sentence; a folder is no file either."""
    with pytest.raises(StudyFileError, match="no such study file"):
        load_study(tmp_path / "missing.yaml")
    with pytest.raises(StudyFileError):
        load_study(tmp_path)


PARAMS = {
    "unknown": ({"covariats": ["age"]}, "params.covariats", "'covariates'"),
    "no such prior": ({"prior": "bayes"}, "params.prior", "parametric"),
    "a number": ({"covariates": 3}, "params.covariates", "3"),
    "twice": ({"covariates": ["age", "age"]}, "params.covariates", "twice"),
    "boolean level": ({"covariates": {"smoker": [True, False]}}, "params.covariates", "quotes"),
    "no such knots": (
        {"covariates": {"age": {"knots": [50, 30], "bounds": [18, 90]}}},
        "params.covariates.age",
        "30 comes after 50",
    ),
    "no such spline": (
        {"covariates": {"age": {"knot": [50], "bounds": [18, 90]}}},
        "params.covariates.age",
        "nothing else",
    ),
    "no such type": ({"covariates": {"age": "numeric"}}, "params.covariates.age", "continuous"),
}


@pytest.mark.parametrize("what", PARAMS)
def test_mistake_in_params_names_the_key(what: str) -> None:
    """Catches options of a method checked later, at a site, in another process."""
    params, key, says = PARAMS[what]
    with pytest.raises(StudyFileError) as error:
        parse_params(parse_study({"study": "a", "method": "combat", "params": params}))
    assert error.value.where["key"].startswith(key)
    assert says in str(error.value)


def test_unknown_method_and_target() -> None:
    """Catches a KeyError for a typing error in the two keys everybody writes."""
    with pytest.raises(UnknownMethodError, match="Did you mean 'combat'"):
        parse_params(parse_study({"study": "a", "method": "combta"}))
    with pytest.raises(StudyFileError, match="reference: BATCH") as error:
        parse_params(parse_study({"study": "a", "method": "combat", "target": "guys"}))
    assert error.value.where["key"] == "target"


def test_what_sites_get_holds_no_path() -> None:
    """Catches a folder on somebody's disk in a message to every hospital."""
    study = parse_study({"study": "a", "method": "combat", "sites": {"x": "/home/erika/data"}})
    assert "erika" not in repr(study.public())
    assert parse_study(study.public()).public() == study.public()

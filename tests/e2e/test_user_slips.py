"""Slips that a new user made, each of which was once taken without a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import motet
from e2e.consortium import consortium, refused
from e2e.consortium import motet as run


def people(n: int = 30) -> tuple[pd.DataFrame, pd.Series, pd.DataFrame]:
    rng = np.random.default_rng(0)
    index = [f"sub-{i}" for i in range(n)]
    features = pd.DataFrame(rng.normal(size=(n, 6)), index=index).add_prefix("f")
    batch = pd.Series(np.repeat(["a", "b"], n // 2), index=index)
    return features, batch, pd.DataFrame({"age": rng.uniform(20, 80, n)}, index=index)


def test_batch_in_another_order() -> None:
    """Catches labels that are taken by position though their index says otherwise."""
    features, batch, age = people()
    with pytest.raises(motet.MotetError, match="'batch' have different indexes"):
        motet.harmonize(features, batch=batch.iloc[::-1], covariates=age)


def test_one_person_alone_is_warned_of() -> None:
    """Catches a warning that only the command line shows."""
    features, batch, age = people()
    batch.iloc[0] = "alone"
    with pytest.warns(motet.MotetWarning, match="one person"):
        found = motet.harmonize(features, batch=batch, covariates=age)
    assert np.isfinite(found.to_numpy()).all()
    fitted = motet.FeatureHarmonizer().fit(features.iloc[1:], batch=batch[1:], covariates=age[1:])
    with pytest.warns(motet.MotetWarning, match="does not know batch new"):
        fitted.transform(features, batch=["new"] * 30, covariates=age)


def test_infinite_value_at_transform() -> None:
    """Catches infinity handed through where nothing is summed."""
    features, batch, age = people()
    fitted = motet.FeatureHarmonizer().fit(features, batch=batch, covariates=age)
    features.iloc[3, 2] = np.inf
    with pytest.raises(motet.MotetError, match="person row 3, feature f2"):
        fitted.transform(features, batch=batch, covariates=age)


@pytest.mark.parametrize("covariates", [["age"], np.zeros(30)])
def test_covariates_that_are_no_table(covariates: object) -> None:
    """Catches an AttributeError from the inside."""
    features, batch, _ = people()
    with pytest.raises(motet.MotetError, match="has to be a DataFrame"):
        motet.harmonize(features, batch=batch, covariates=covariates)  # type: ignore[call-overload]


@pytest.mark.parametrize(("cell", "says"), [("2,476", "decimal points"), ("2.4 mm", "Correct it")])
def test_split_of_numbers_that_are_text(cell: str, says: str, tmp_path: Path) -> None:
    """Catches a feature that leaves every site because of one cell, or of decimal commas."""
    frame = pd.DataFrame({"participant_id": list("abcd"), "site": list("xxyy"), "g": 1.5})
    frame["f"] = ["2.1", "2.2", cell, "2.4"] if "mm" in cell else ["2,1", "2,2", cell, "2,4"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    ran = run("split", tmp_path / "t.csv", "--by", "site", "--out", tmp_path / "out")
    refused(ran, "column f", says)
    assert not (tmp_path / "out").exists()


def test_ages_with_decimal_commas_are_no_levels(tmp_path: Path) -> None:
    """Catches everybody's exact age becoming public levels of a category."""
    study = consortium(tmp_path)
    for path in tmp_path.glob("data/*/participants.tsv"):
        table = pd.read_csv(path, sep="\t", dtype=str)
        table["age"] = [f"{20 + i},{i}5" for i in range(len(table))]
        table.to_csv(path, sep="\t", index=False)
    refused(run("simulate", study, "--out", tmp_path / "out"), "column age", "identifiers")


def test_sex_coded_in_two_ways(tmp_path: Path) -> None:
    """Catches an advice to drop sex where its coding differs, and no word of who has which."""
    study = consortium(tmp_path)
    path = tmp_path / "data/birch/participants.tsv"
    table = pd.read_csv(path, sep="\t", dtype=str)
    table["sex"] = table["sex"].replace({"F": "f", "M": "m"})
    table.to_csv(path, sep="\t", index=False)
    refused(run("simulate", study, "--out", tmp_path / "out"), "sex", "coding", "birch: f, m")


def test_apply_keeps_another_sites_output(tmp_path: Path) -> None:
    """Catches the second hospital's derivative taking the place of the first's."""
    study = consortium(tmp_path)
    assert run("simulate", study, "--out", tmp_path / "out").code == 0
    words = (tmp_path / "new", "participant", "--model", tmp_path / "out")
    assert run("apply", tmp_path / "data/ash", *words).code == 0
    refused(run("apply", tmp_path / "data/birch", *words), str(tmp_path / "new"))
    ran = run("apply", tmp_path / "data/birch", *words, "--site", "birhc")
    refused(ran, "Did you mean 'birch'?")
    ran = run("apply", tmp_path / "data/birch", tmp_path / "as ash", *words[1:], "--site", "ash")
    assert "has the name of another site, 'birch': are these people of 'ash'?" in " ".join(
        ran.out.split()
    )


def test_two_runs_at_once(tmp_path: Path) -> None:
    """Catches two runs that take each other's files away."""
    study = consortium(tmp_path)
    code = (
        "import sys, time\n"
        "from motet.client.worker import SiteWorker\n"
        "finish = SiteWorker.finish\n"
        "def slow(*words):\n"
        "    print('here', flush=True); time.sleep(4); return finish(*words)\n"
        "SiteWorker.finish = slow\n"
        "from motet.cli import main\n"
        "sys.argv = ['motet', 'simulate', *sys.argv[1:]]\n"
        "main()\n"
    )
    words = [str(study), "--out", str(tmp_path / "out")]
    first = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--reports", "later"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    while "here" not in first.stdout.readline():
        pass
    refused(run("simulate", *words), "Another run is writing into this folder")
    first.communicate()
    assert first.returncode == 0


def test_a_far_age_is_told_of_in_python_too() -> None:
    """Catches a warning that only the command line shows, and one that names no row."""
    features, batch, age = people()
    age.iloc[7, 0] = 950.0
    with pytest.warns(motet.MotetWarning, match=r"'age' of row 7 \(950\) is far"):
        motet.harmonize(features, batch=batch, covariates=age)

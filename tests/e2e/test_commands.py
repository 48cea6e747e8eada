"""The commands as a user runs them, on tables that the tests make."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import motet as package
from e2e.consortium import (
    FEATURES,
    SITES,
    consortium,
    files,
    motet,
    people_of,
    pooled_table,
    read_values,
    refused,
    succeeded,
    write_site,
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demo's folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return folder, succeeded("demo", "--out", folder)


def test_demo_writes_what_the_contract_says(demo: tuple[Path, str]) -> None:
    """Catches a file of DESIGN's list that is not there, or is empty."""
    out = demo[0] / "harmonized"
    expected = ["plan.json", "run.json", "metrics.json", "evaluation.npz", "report.html"]
    expected += ["shared/manifest.json", "shared/model.npz"]
    for site in ("aalto", "borel", "curie", "darwin"):
        names = ("model/manifest.json", "model/model.npz", "ledger.sqlite", "report.html")
        expected += [f"sites/{site}/{name}" for name in names]
        names = ("dataset_description.json", "participants.tsv", "features.tsv", "features.json")
        expected += [f"sites/{site}/harmonized/{name}" for name in names]
    written = files(out)
    assert [name for name in expected if not written.get(name)] == []
    hidden = [n for n in written if "/." in f"/{n}" and not n.endswith("/.bidsignore")]
    assert hidden == []


def test_demo_shrinks_site_effect_and_error(demo: tuple[Path, str]) -> None:
    """Catches a demo that shows a harmonization which does not harmonize, or prints no figures."""
    folder, printed = demo
    effect = json.loads((folder / "harmonized/metrics.json").read_text())["site_effect"]
    raw, after = effect["raw"], effect["harmonized"]
    assert effect["people"] == "held out"
    assert raw["share_significant"] > 0.9
    assert after["share_significant"] < 0.2
    assert after["batch_eta2"] < raw["batch_eta2"] / 3
    assert after["covariates_r2"] > 0.8 * raw["covariates_r2"]
    assert f"{100 * raw['share_significant']:.0f} %" in printed
    assert f"{raw['batch_eta2']:.3f}" in printed
    errors = {}
    for line in printed.splitlines():
        words = line.split()
        if len(words) == 5 and words[2] == words[4] == "µm":
            errors[words[0]] = (float(words[1]), float(words[3]))
    assert set(errors) == {"aalto", "borel", "curie", "darwin", "erasmus"}
    assert all(after < before / 2 for before, after in errors.values()), errors


def test_demo_again_is_the_same(demo: tuple[Path, str]) -> None:
    """Catches clock, path, thread or process in what is written; and a second run refused."""
    folder, printed = demo
    before = files(folder)
    assert succeeded("demo", "--out", folder) == printed
    after = files(folder)
    changed = {n for n in before if before[n] != after.get(n)} | after.keys() - before.keys()
    # The ledger says that all has left again, and the pages show the ledger.
    assert {n for n in changed if not n.endswith(("ledger.sqlite", "report.html"))} == set()


def test_split_plan_simulate_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a step of the README's way that does not take what the step before it made."""
    monkeypatch.chdir(tmp_path)
    table = pooled_table(tmp_path / "pooled.csv")
    words = ("pooled.csv", "--by", "hospital", "--covariates", "age,sex")
    printed = succeeded("split", *words, "--out", "data", "--sites", ",".join(SITES))
    assert "ash 20, birch 20, cedar 20" in printed
    assert "4 features" in printed
    snippet = printed[printed.index("study:") :]
    Path("study.yaml").write_text(
        snippet + "evaluation: {held_out: 0.3, metrics: summed}\nseed: 3\n"
    )
    before = files(tmp_path)
    assert "4 features (p), 2 covariate columns (q), 3 batches" in succeeded("plan", "study.yaml")
    assert files(tmp_path) == before
    succeeded("simulate", "study.yaml", "--out", "out")
    effect = json.loads(Path("out/metrics.json").read_text())["site_effect"]
    assert effect["people"] == "held out"
    assert effect["harmonized"]["batch_eta2"] < effect["raw"]["batch_eta2"] / 2
    succeeded("split", *words, "--out", "unseen", "--sites", "dune")
    printed = succeeded("apply", "unseen/dune", "new", "participant", "--model", "out")
    assert "dune" in printed
    assert "20 people harmonized: new" in printed
    raw = table[table["hospital"] == "dune"].set_index("participant_id")[list(FEATURES)]
    new, known = read_values(Path("new")), [read_values(harmonized(Path("out"), s)) for s in SITES]
    assert list(new.index) == list(raw.index)
    mean = pd.concat(known).mean()
    assert (np.abs(new.mean() - mean) < np.abs(raw.mean() - mean) / 2).all()


def harmonized(out: Path, site: str) -> Path:
    return out / "sites" / site / "harmonized"


@pytest.mark.parametrize("form", ["tsv", "npy"])
@pytest.mark.parametrize("held_out", [0.0, 0.3])
def test_apply_of_the_own_people(form: str, held_out: float, tmp_path: Path) -> None:
    """Catches a second path of the same formula: apply repeats simulate bit for bit.

    Training people and held-out ones, several scanners a site, from the study's folder and from
    the site's alone.
    """
    scanners = {"ash": ("prisma", "vida")}
    study = consortium(
        tmp_path, form=form, scanners=scanners, evaluation={"held_out": held_out}, n=24
    )
    succeeded("simulate", study, "--out", tmp_path / "out")
    for site in ("ash", "birch"):
        models = (tmp_path / "out", tmp_path / "out/sites" / site)
        for i, model in enumerate(models):
            new = tmp_path / f"{site}{i}"
            data = tmp_path / "data" / site
            printed = succeeded("apply", data, new, "participant", "--model", model)
            assert "as adjusted in the study" in printed
            assert "24 people" in printed
            assert files(new) == files(harmonized(tmp_path / "out", site))


def test_site_folder_and_shared_are_all_a_hospital_needs(tmp_path: Path) -> None:
    """Catches apply reading other sites' folders, plan.json or the study file."""
    study = consortium(tmp_path)
    succeeded("simulate", study, "--out", tmp_path / "out")
    write_site(tmp_path / "dune", *people_of("dune", 12))
    words = ("participant", "--model")
    succeeded("apply", tmp_path / "dune", tmp_path / "all", *words, tmp_path / "out")
    shutil.copytree(tmp_path / "out/shared", tmp_path / "alone/shared")
    shutil.copytree(tmp_path / "out/sites/ash", tmp_path / "alone/sites/ash")
    before = files(harmonized(tmp_path / "out", "ash"))
    shutil.rmtree(tmp_path / "out")
    alone = tmp_path / "alone"
    succeeded("apply", tmp_path / "dune", tmp_path / "d1", *words, alone / "shared")
    succeeded("apply", tmp_path / "dune", tmp_path / "d2", *words, alone)
    succeeded("apply", tmp_path / "data/ash", tmp_path / "a1", *words, alone / "sites/ash")
    assert files(tmp_path / "d1") == files(tmp_path / "d2") == files(tmp_path / "all")
    assert files(tmp_path / "a1") == before


@pytest.mark.parametrize("form", ["tsv", "npy"])
@pytest.mark.parametrize("site", ["ash", "dune"])
def test_participant_label(site: str, form: str, finished: Path, tmp_path: Path) -> None:
    """Catches an unseen site's effects estimated from the chosen people only, and other rows."""
    people, values = people_of(site, 14)
    data = write_site(tmp_path / site, people, values, form=form)
    words = ("participant", "--model", finished / "out")
    succeeded("apply", data, tmp_path / "all", *words)
    labels = ("--participant-label", f"sub-{site}09", "--participant-label", f"{site}03")
    printed = succeeded("apply", data, tmp_path / "some", *words, *labels, "--n-procs", "2")
    assert "2 people harmonized" in printed
    some, every = read_values(tmp_path / "some"), read_values(tmp_path / "all")
    assert list(some.index) == [f"sub-{site}03", f"sub-{site}09"]
    pd.testing.assert_frame_equal(some, every.loc[some.index], check_exact=True)
    assert (tmp_path / "some" / f"features.{form}").exists()


def test_numbers_read_back_exactly(tmp_path: Path) -> None:
    """Catches digits lost in a TSV: both forms of a study give the same bits, also in memory."""
    study, other = consortium(tmp_path / "tsv"), consortium(tmp_path / "npy", form="npy")
    in_memory = package.simulate(study)
    assert in_memory.out is None
    for path in (study, other):
        succeeded("simulate", path, "--out", path.parent / "out")
    for site in SITES:
        tsv, npy = (harmonized(tmp_path / form / "out", site) for form in ("tsv", "npy"))
        assert (tsv / "features.tsv").exists()
        assert not (npy / "features.tsv").exists()
        assert np.load(npy / "features.npy").dtype == np.float64
        pd.testing.assert_frame_equal(read_values(tsv), read_values(npy), check_exact=True)
        assert read_values(tsv).to_numpy().tobytes() == in_memory.values[site].tobytes()
    hashes = {
        json.loads((tmp_path / form / "out/shared/manifest.json").read_text())["sha256"]
        for form in ("tsv", "npy")
    }
    assert hashes == {in_memory.sha256}


@pytest.mark.parametrize("sites", [("1", "2", "3"), ("NO", "yes", "1e3"), ("a b", "c#d", "e:f")])
def test_study_file_that_split_prints(
    sites: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches site names that YAML takes for numbers or booleans in the text to be copied."""
    monkeypatch.chdir(tmp_path)
    table = pooled_table(tmp_path / "pooled.csv")
    names = dict(zip(SITES, sites, strict=True))
    table = table[table["hospital"] != "dune"].replace({"hospital": names})
    table.to_csv("pooled.csv", index=False)
    words = ("--by", "hospital", "--covariates", "age,sex", "--out", "data")
    printed = succeeded("split", "pooled.csv", *words)
    text = printed[printed.index("study:") :]
    assert set(yaml.safe_load(text)["sites"]) == {p.name for p in Path("data").iterdir()}
    Path("study.yaml").write_text(text + "evaluation: {metrics: none}\n")
    ran = motet("simulate", "study.yaml", "--out", "out")
    assert ran.code == 0, ran.err


def test_ledger_commands(demo: tuple[Path, str], tmp_path: Path) -> None:
    """Catches a ledger that nobody can read, a change that is not found, and an export that a
    script without us cannot check."""
    home = demo[0] / "harmonized/sites/aalto"
    shown = succeeded("site", "ledger", "show", home)
    assert "moments" in shown
    assert "sum_y" in shown
    whole = succeeded("site", "ledger", "verify", home)
    assert "is whole" in whole
    head = whole.split("head ")[1].strip()
    assert "is whole" in succeeded("site", "ledger", "verify", home, "--head", head)
    file = tmp_path / "ledger.jsonl"
    said = succeeded("site", "ledger", "export", home, file)
    command = said.split("check it: ")[1].split()
    assert command[0] == "python"
    checked = subprocess.run(
        [sys.executable, "-I", "-S", command[1], file], capture_output=True, text=True, check=True
    )
    assert checked.stdout.startswith("The ledger is whole")
    refused(motet("site", "ledger", "export", home, file), "a file of this name")
    refused(motet("site", "ledger", "show", tmp_path), "nothing has left yet")
    refused(motet("site", "ledger", "verify", home, "--head", f"99:{'0' * 64}"), "head on record")
    copy = tmp_path / "ledger.sqlite"
    shutil.copyfile(home / "ledger.sqlite", copy)
    with closing(sqlite3.connect(copy)) as book, book:
        book.execute("DROP TRIGGER no_UPDATE_entries")
        book.execute("UPDATE entries SET text = replace(text, 'sum_y', 'sum_z') WHERE number = 2")
    refused(motet("site", "ledger", "verify", copy), "entry 2, or one before it, was changed")


def test_the_version_is_told_either_way() -> None:
    """Catches an option that every other program has."""
    assert succeeded("--version") == succeeded("version") == f"motet {package.__version__}\n"

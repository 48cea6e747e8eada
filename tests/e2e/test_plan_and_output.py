"""What ``motet plan`` says beside what left, and what the output folder holds."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from conformance.ledgers import released
from e2e.consortium import (
    FEATURES,
    SITES,
    consortium,
    files,
    motet,
    people_of,
    succeeded,
    write_site,
    write_study,
)
from motet.cli.show import size
from motet.client.worker import SiteWorker


def with_holes(folder: Path) -> None:
    people, values = people_of("ash", 16)
    values[2, 1] = np.nan
    write_site(folder / "data/ash", people, values)


def test_plan_prints_every_array_that_leaves(tmp_path: Path) -> None:
    """Catches an array in the ledger that the plan did not show, or with more bytes than shown."""
    params = {"covariates": ["age", "sex"], "reference": "birch"}
    study = consortium(tmp_path, params=params)
    with_holes(tmp_path)
    printed = succeeded("plan", study)
    succeeded("simulate", study, "--out", tmp_path / "out")
    shown: dict[tuple[str, str], str] = {}
    phase = ""
    for line in printed.splitlines():
        words = line.split()
        if len(words) > 1 and words[0].endswith(":") and words[1] in ("sum,", "published,"):
            phase = words[0].removesuffix(":")
        elif phase and " B " in line:
            shown[phase, words[0]] = line
    left = 0
    for site in SITES:
        for entry in released(tmp_path / "out/sites" / site):
            for array in entry.get("arrays", ()):
                line = shown[entry["phase"], array["name"]]
                at_most = int(line.split(" B ")[0].split()[-1])
                assert array["bytes"] <= at_most
                if entry["phase"] == "moments":
                    assert f" {size(array['bytes'])} " in line
                    assert f"as {array['dtype']} " in line
                left += 1
    phases = {phase for phase, _ in shown}
    assert phases == {"moments", "moments_of_incomplete", "reference"}
    assert left == 3 * 8 + 3 * 8 + 2


def refused(printed: str) -> list[str]:
    """The lines of what a default policy would refuse."""
    said = printed.partition("would refuse:\n")[2]
    return [line for line in said.splitlines() if line.startswith("  ")]


def test_codes_are_told_of(tmp_path: Path) -> None:
    """Catches a diagnosis of 1, 2 and 3 that is kept as a straight line, without a word."""
    study = consortium(tmp_path)
    assert "few whole numbers" not in succeeded("plan", study)
    for site in SITES:
        people, values = people_of(site, 16)
        codes = [1 + i % 3 for i in range(len(people))]
        write_site(tmp_path / "data" / site, people.assign(sex=codes), values)
    printed = succeeded("plan", study)
    assert "note: sex: few whole numbers, read as numbers" in printed
    assert "covariates: {sex: categorical, …}" in printed
    document = yaml.safe_load(study.read_text())
    for kind in ("categorical", "continuous"):
        document["params"]["covariates"] = {"age": "continuous", "sex": kind}
        study.write_text(yaml.safe_dump(document))
        assert "few whole numbers" not in succeeded("plan", study)


@pytest.mark.parametrize("kind", ["auto", "categorical"])
def test_codes_that_differ_among_sites_are_told_of(tmp_path: Path, kind: str) -> None:
    """Catches a sex of 1 and 2 at one site and of 0 and 1 elsewhere."""
    study = consortium(tmp_path, params={"covariates": {"age": "auto", "sex": kind}})
    said = "'sex' has other whole numbers at ash; cedar: is a number the same code everywhere?"
    for first in (0, 1):
        for site, low, high in (("ash", 0, 1), ("birch", 1, 1), ("cedar", first, first + 1)):
            people, values = people_of(site, 16)
            codes = [(low, high)[i % 2] for i in range(len(people))]
            write_site(tmp_path / "data" / site, people.assign(sex=codes), values)
        for words in (("plan", study), ("simulate", study, "--out", tmp_path / f"out{first}")):
            assert (said in succeeded(*words)) == bool(first)


def test_plan_says_what_a_default_policy_would_refuse(tmp_path: Path) -> None:
    """Catches a small site, or a cell of one person, that the plan keeps quiet about."""
    study = consortium(tmp_path)
    assert "would let all of this leave" in succeeded("plan", study)
    people, values = people_of("birch", 3)
    write_site(tmp_path / "data/birch", people.assign(sex=["F", "F", "M"]), values)
    people, values = people_of("cedar", 16)
    write_site(tmp_path / "data/cedar", people.assign(sex=["M"] * 2 + ["F"] * 14), values)
    printed = succeeded("plan", study)
    refusals = refused(printed)
    assert [line.split(":")[0].strip() for line in refusals] == ["birch", "cedar"]
    assert "3 people, fewer than 10" in refusals[0]
    assert "2 with sex = M, fewer than 5" in refusals[1]


def test_plan_of_an_unseen_site_and_no_judgement(tmp_path: Path) -> None:
    """Catches a plan that fails at a site of whom nobody is in any sum."""
    asked = {"metrics": "none", "unseen": ["cedar"]}
    printed = succeeded("plan", consortium(tmp_path, evaluation=asked))
    assert "2 batches at 2 sites" in printed
    refusals = refused(printed)
    assert [line.split(":")[0].strip() for line in refusals] == ["all sites"]


@pytest.mark.parametrize("form", ["tsv", "npy"])
def test_derivative_is_bids(form: str, tmp_path: Path) -> None:
    """Catches a derivative without origin, with undeclared files, or with other people."""
    scanners = dict.fromkeys(SITES, ("prisma", "vida"))
    study = consortium(tmp_path, form=form, scanners=scanners)
    (tmp_path / "data/ash/participants.json").write_text('{"age": {"Units": "year"}}')
    succeeded("simulate", study, "--out", tmp_path / "out")
    plan = json.loads((tmp_path / "out/plan.json").read_text())
    model = json.loads((tmp_path / "out/shared/manifest.json").read_text())
    folder = tmp_path / "out/sites/ash/harmonized"
    about = json.loads((folder / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert {"Name", "BIDSVersion"} <= about.keys()
    assert about["GeneratedBy"][0]["Name"] == "Motet"
    assert about["GeneratedBy"][0]["Version"]
    assert about["SourceDatasets"] == [{"URL": (tmp_path / "data/ash").resolve().as_uri()}]
    sidecar = json.loads((folder / "features.json").read_text())
    assert sidecar["method"] == "combat"
    assert sidecar["study"] == "made-up"
    assert sidecar["plan"] == plan["hash"]
    assert sidecar["model"] == model["sha256"]
    assert set(sidecar["Sources"]) == {
        f"bids:source:features.{form}",
        "bids:source:participants.tsv",
    }
    assert set(about["DatasetLinks"]) == {"source"}
    ignored = (folder / ".bidsignore").read_text().split()
    known = {"dataset_description.json", "participants.tsv", "participants.json", "README"}
    others = {n for n in files(folder) if n not in known and n != ".bidsignore"}
    assert others == {f"features.{form}", "features.json"}
    assert ignored == ["features.*"]
    source = tmp_path / "data/ash"
    for name in ("participants.tsv", "participants.json"):
        assert (folder / name).read_bytes() == (source / name).read_bytes()


def test_same_study_again_in_its_folder(tmp_path: Path) -> None:
    """Catches a second run that is refused, gives other bytes, or leaves something behind."""
    study = consortium(tmp_path, evaluation={"held_out": 0.3}, n=24)
    succeeded("simulate", study, "--out", tmp_path / "out")
    before = files(tmp_path / "out")
    succeeded("simulate", study, "--out", tmp_path / "out")
    after = files(tmp_path / "out")
    assert before.keys() == after.keys()
    assert [n for n in before if before[n] != after[n] and not n.endswith("ledger.sqlite")] == []


def test_warnings_stand_in_the_order_of_the_sites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches metrics.json, and the screen, depending on which site's thread was first."""
    finish, slow = SiteWorker.finish, {"ash": 0.2, "birch": 0.1, "cedar": 0.0}

    def late(worker: SiteWorker, *words: object) -> None:
        time.sleep(slow[worker.name])
        finish(worker, *words)

    monkeypatch.setattr(SiteWorker, "finish", late)
    study = consortium(tmp_path)
    write_site(tmp_path / "data/ash", *people_of("ash", 1))
    for site in ("birch", "cedar"):
        people, values = people_of(site, 16)
        values[:, 2] = 3.0
        write_site(tmp_path / "data" / site, people, values)
    write_site(tmp_path / "data/dune", *people_of("dune", 16))
    write_study(study, {s: f"data/{s}" for s in (*SITES, "dune")})
    slow["dune"] = 0.0
    printed = succeeded("simulate", study, "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out/metrics.json").read_text())["warnings"]
    assert [entry["site"] for entry in found] == list(SITES)
    assert "one person" in found[0]["warning"]
    assert all(FEATURES[2] in entry["warning"] for entry in found[1:])
    said = [line.split(":")[1] for line in printed.splitlines() if line.startswith("warning")]
    assert said == [f" {site}" for site in SITES]


@pytest.mark.parametrize("what", ["few held out", "holes everywhere", "no covariates"])
def test_effects_that_cannot_be_computed(what: str, tmp_path: Path) -> None:
    """Catches a run that dies after everything is done since metrics.json cannot hold a NaN."""
    held = {"few held out": 0.1, "holes everywhere": 0.0, "no covariates": 0.3}[what]
    params = {"covariates": [] if what == "no covariates" else ["age", "sex"]}
    study = consortium(tmp_path, n=10, params=params, evaluation={"held_out": held})
    if what == "holes everywhere":
        for site in SITES:
            people, values = people_of(site, 10)
            values[[0, 1, 2, 3], [0, 1, 2, 3]] = np.nan
            write_site(tmp_path / "data" / site, people, values)
    ran = motet("simulate", study, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "nan" not in ran.out
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["site_effect"]["n"] > 0


def test_effects_with_missing_cells(tmp_path: Path) -> None:
    """Catches features with a missing cell being left out of the judgement: on real tables of
    hundreds of people, that is most of them."""
    study = consortium(tmp_path, n=30)
    for site in SITES:
        people, values = people_of(site, 30)
        values[[0, 1, 2, 3], [0, 1, 2, 3]] = np.nan
        write_site(tmp_path / "data" / site, people, values)
    assert motet("simulate", study, "--out", tmp_path / "out").code == 0
    effect = json.loads((tmp_path / "out/metrics.json").read_text())["site_effect"]
    assert effect["features"] == 4
    assert effect["harmonized"]["batch_eta2"] < effect["raw"]["batch_eta2"]


def test_methods_and_help() -> None:
    """Catches a method without a card or parameters, and help that shows mark-up."""
    assert "combat" in succeeded("methods")
    printed = succeeded("methods", "combat")
    for word in ("leaves a site", "prior", "parametric", "reference", "feature_groups", "doi"):
        assert word in printed
    assert succeeded("version").startswith("motet ")
    for command in ("demo", "split", "plan", "simulate", "apply", "methods"):
        assert command in succeeded("--help")
        assert "\\[" not in succeeded(command, "--help")


def test_people_keep_their_order_and_extra_columns(tmp_path: Path) -> None:
    """Catches values that land at another person, and columns of participants.tsv lost."""
    study = consortium(tmp_path)
    people, values = people_of("ash", 16)
    order = np.random.default_rng(0).permutation(16)
    write_site(tmp_path / "data/ash", people.assign(note="n/a"), values)
    frame = pd.read_csv(tmp_path / "data/ash/features.tsv", sep="\t", dtype="str")
    frame.iloc[order].to_csv(tmp_path / "data/ash/features.tsv", sep="\t", index=False)
    succeeded("simulate", study, "--out", tmp_path / "out")
    folder = tmp_path / "out/sites/ash/harmonized"
    after = pd.read_csv(folder / "features.tsv", sep="\t", index_col="participant_id")
    assert list(after.index) == people["participant_id"].iloc[order].tolist()
    assert np.corrcoef(after.loc[people["participant_id"]].to_numpy().T, values.T)[0, 4] > 0.99
    kept = pd.read_csv(folder / "participants.tsv", sep="\t", keep_default_na=False)
    assert kept["note"].tolist() == ["n/a"] * 16

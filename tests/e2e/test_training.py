"""A trained method from the command line: plan, run, log, options."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from e2e.consortium import consortium, files, motet, refused, succeeded
from motet import simulation
from motet.report.read import read_study
from motet.report.summary import summary
from motet.server.events import Event, Kind
from motet.simulation import simulate
from motet.training.log import LOG, read_log

TRAIN = {"preset": "tiny", "batch": 8, "steps": 63, "local_steps": 3, "validation": 0.2}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished study, and what the command said."""
    folder = tmp_path_factory.mktemp("trained")
    study = consortium(
        folder,
        method="deepcombat",
        train=TRAIN,
        evaluation={"metrics": "none"},
        privacy={"secure_sum": False},
    )
    return folder, succeeded("simulate", study, "--out", folder / "out")


def test_progress_and_log(ran: tuple[Path, str]) -> None:
    """Catches a training that is silent, one line an exchange, and a log that is not written."""
    folder, printed = ran
    told = [line for line in printed.splitlines() if line.startswith("Training 'cvae', step ")]
    assert 18 <= len(told) <= 21
    assert all("reconstruction" in line for line in told[:-1])
    assert "of 63, exchange" in told[0]
    assert LOG in printed
    rows = read_log(folder / "out" / LOG)
    assert [row["step"] for row in rows] == [*range(3, 66, 3), 63]
    run = json.loads((folder / "out/run.json").read_text())
    sites = {entry["site"] for entry in run["received"]}
    header = (folder / "out" / LOG).read_text().splitlines()[0].split(",")
    assert {f"{site}/autoencoder.kl" for site in sites} < set(header)
    of_training = [e for e in run["received"] if e["phase"] == "cvae" and e["site"] == min(sites)]
    assert {e["times"] for e in of_training if e["array"] == "encoder"} == {21}
    assert len(of_training) == len({e["array"] for e in of_training}) < 20
    assert "torch" in run["versions"]
    plan = json.loads((folder / "out/plan.json").read_text())
    assert {e["array"] for e in of_training} <= {a["name"] for a in plan["trained"]["cvae"]}


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    """Catches hours lost, and a result half replaced, by a command that was given twice; and data
    that changed and are not looked at."""
    train = {"preset": "tiny", "steps": 2, "local_steps": 2}
    study = consortium(tmp_path, method="deepcombat", train=train, evaluation={"metrics": "none"})
    out = tmp_path / "out"
    succeeded("simulate", study, "--out", out, "--reports", "later")
    before = files(out)
    refused(motet("simulate", study, "--out", out), "is finished here", f"motet report {out}")
    assert files(out) == before
    table = next((tmp_path / "data").rglob("participants.tsv"))
    os.utime(table, ns=(1, 1))
    refused(motet("simulate", study, "--out", out), "is finished here")
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))
    succeeded("simulate", study, "--out", out, "--reports", "later")


def test_what_the_networks_never_saw_is_told(tmp_path: Path) -> None:
    """Catches a report of DeepComBat on features that ComBat alone harmonized: one person's missing
    value takes a feature from everybody's networks."""
    train = {"preset": "tiny", "steps": 2, "local_steps": 2}
    study = consortium(tmp_path, method="deepcombat", train=train, evaluation={"metrics": "none"})
    table = tmp_path / "data/birch/features.tsv"
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    rows[1][rows[0].index("lh_insula")] = "n/a"
    table.write_text("".join("\t".join(row) + "\n" for row in rows))
    printed = succeeded("simulate", study, "--out", tmp_path / "out", "--reports", "later")
    assert "note: 1 of 4 features were harmonized by ComBat alone" in printed
    assert "warning: The preset 'tiny' is for tests" in printed
    said = summary(read_study(tmp_path / "out"), "DeepComBat")
    assert (
        "1 of 4 features were harmonized by ComBat alone, not by the networks: values of them are "
        "missing, or do not vary (lh_insula)."
    ) in said


def test_people_unlike_those_of_the_fit_are_told_of(tmp_path: Path) -> None:
    """Catches what a decoder makes of ages that it never saw, given out without a word."""
    train = {"preset": "tiny", "steps": 2, "local_steps": 2}
    study = consortium(tmp_path, method="deepcombat", train=train, evaluation={"metrics": "none"})
    succeeded("simulate", study, "--out", tmp_path / "out", "--reports", "later")
    said = {}
    for name, more in (("alike", 0.0), ("old", 400.0)):
        shutil.copytree(tmp_path / "data/ash", tmp_path / name)
        people = pd.read_csv(tmp_path / name / "participants.tsv", sep="\t")
        people["age"] += more * (np.arange(len(people)) < 3)
        people.to_csv(tmp_path / name / "participants.tsv", sep="\t", index=False)
        words = (tmp_path / f"{name}-done", "participant", "--model", tmp_path / "out")
        said[name] = " ".join(succeeded("apply", tmp_path / name, *words).split())
    assert "standard deviations" not in said["alike"]
    assert f"3 of {len(people)} rows have a value of 'age' more than 4 standard" in said["old"]


def test_a_step_of_more_people_than_there_are_leaves_no_folder(tmp_path: Path) -> None:
    """Catches sums that leave before somebody is told, and a folder that refuses what is mended."""
    study = consortium(tmp_path, method="deepcombat", train={"preset": "tiny", "batch": 5000})
    out = tmp_path / "out"
    words = (f"file {study}, key train.batch", "takes 5000 samples", "batch: 0")
    refused(motet("simulate", study, "--out", out), *words)
    refused(motet("plan", study), *words)
    assert not out.exists()


def test_who_is_stopped_while_a_study_is_judged_has_its_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches progress that is forgotten before controls are trained, which takes as long again."""
    study = consortium(
        tmp_path,
        method="deepcombat",
        train={"preset": "tiny", "steps": 4},
        evaluation={"metrics": "uncontrolled", "permutations": 20},
    )
    out, seen = tmp_path / "out", list[Event]()

    def stopped(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(simulation, "full_judgement", stopped)
        with pytest.raises(KeyboardInterrupt):
            simulate(study, out=out, reports="later", observe=seen.append)
    assert [e for e in seen if e.kind is Kind.TRAINED]
    seen.clear()
    shared = files(out / "shared")
    again = simulate(study, out=out, reports="later", observe=seen.append)
    assert [e.phase for e in seen if e.kind is Kind.RESUMED] == ["residuals"]
    assert not [e for e in seen if e.kind is Kind.TRAINED]
    assert files(out / "shared") == shared
    assert "simulation" in again.judgements
    assert not (out / ".progress.npz").exists()


def test_plan(ran: tuple[Path, str]) -> None:
    """Catches a plan from which nobody sees how often what leaves, and to whom."""
    folder, _ = ran
    plain = " ".join(succeeded("plan", folder / "study.yaml").split())
    assert "Train, at most 22 exchanges" in plain
    assert ", 21 times" in plain
    assert "local mode, fedavg): at most 63 steps in 22 exchanges." in plain
    assert "what a site's own steps changed in the networks and in their optimizer's" in plain
    assert "They are not masked: the coordinator reads each site's." in plain
    exact = consortium(
        folder / "exact", method="deepcombat", train={"preset": "tiny", "mode": "exact"}
    )
    said = " ".join(succeeded("plan", exact).split())
    assert "'cvae' trains networks (exact mode): at most 6 steps in 6 exchanges." in said
    assert "gradients of networks, summed over a site's samples, with sums of losses" in said
    assert "They are masked: the coordinator reads what they come to over all sites." in said
    assert "A scanner's own parameters are one site's: masks do not hide those." in said


def test_options_are_listed() -> None:
    """Catches options of the section 'train' that only the code knows."""
    said = " ".join(succeeded("methods", "deepcombat").split())
    assert "server scaffold" in said
    assert "local_steps 64 int Steps between exchanges." in said
    assert "preset paper: mode exact, batch 64" in said
    assert "train:" not in succeeded("methods", "combat")

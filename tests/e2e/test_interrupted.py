"""A run that is killed (SIGKILL) goes on, or starts over, and ends as if nothing had been."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.ledgers import released
from e2e.consortium import SITES, consortium, files, motet, people_of, succeeded, write_site
from e2e.killing import killed_at

POINTS = (
    "replace plan.json",
    "replace birch/.keep.npz",
    "replace .progress.npz",
    "finish birch",
    "write birch",
    "rename birch/harmonized",
    "replace shared/manifest.json",
    "replace birch/.shared.npz",
    "judge birch",
    "replace evaluation.npz",
    "replace metrics.json",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of arrays, and beside it ``whole/``, what an uninterrupted run writes."""
    folder = tmp_path_factory.mktemp("interrupted")
    scanners = {"birch": ("prisma", "vida")}
    asked = {"held_out": 0.2, "metrics": "summed"}
    path = consortium(folder, form="npy", scanners=scanners, n=24, evaluation=asked)
    succeeded("simulate", path, "--out", folder / "whole")
    return path


def same(out: Path, whole: Path) -> None:
    """Assert that two output folders are equal, but for a release that left twice."""
    here, there = files(out), files(whole)
    assert sorted(here.keys() - there.keys()) == [], "left over"
    assert sorted(there.keys() - here.keys()) == [], "missing"
    ledgers = {name for name in here if name.endswith("ledger.sqlite")}
    counted = {"run.json"}
    differ = [name for name in here if here[name] != there[name]]
    assert [name for name in differ if name not in ledgers | counted] == []
    assert received_once(here["run.json"]) == received_once(there["run.json"])
    for name in ledgers:
        entries = [{json.dumps(e) for e in released(folder / name)} for folder in (out, whole)]
        assert entries[0] == entries[1]


def received_once(run: bytes) -> dict[str, Any]:
    """A run.json without how often each array came: what was sent again was received again."""
    document = json.loads(run)
    assert all(entry.pop("times") in (1, 2, 3) for entry in document["received"])
    return dict(document)


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_run_again(point: str, study: Path, tmp_path: Path) -> None:
    """Catches half a file taken for a whole one, state that makes the next run fail or differ,
    and temporary files that stay for ever."""
    out = tmp_path / "out"
    killed_at(point, "simulate", study, "--out", out)
    succeeded("simulate", study, "--out", out)
    same(out, study.parent / "whole")


@pytest.mark.parametrize("finished", [(), ("ash", "cedar")], ids=["nobody", "two sites"])
def test_resumed_phase_is_not_sent_again(
    finished: tuple[str, ...], study: Path, tmp_path: Path
) -> None:
    """Catches a checkpoint that is not used: after hours of training, all of it would be done
    again because one machine went down while the last site wrote its files."""
    out = tmp_path / "out"
    killed_at(
        "finish birch" if finished else "finish ",
        *("simulate", study, "--out", out),
        also=lambda: all((out / "sites" / site / "harmonized").is_dir() for site in finished),
    )
    assert "Going on after 'moments'" in succeeded("simulate", study, "--out", out)
    for site in SITES:
        phases = [entry["phase"] for entry in released(out / "sites" / site)]
        assert phases.count("moments") == 1
    same(out, study.parent / "whole")


def test_killed_while_replacing_what_an_earlier_run_wrote(study: Path, tmp_path: Path) -> None:
    """Catches the moment between two renames, when a folder has no name at all."""
    command = ("simulate", study, "--out", tmp_path / "out")
    succeeded(*command)
    killed_at("rename birch/harmonized", *command)
    assert not (tmp_path / "out/sites/birch/harmonized").exists()
    succeeded(*command)
    same(tmp_path / "out", study.parent / "whole")


def test_ctrl_c_says_that_the_run_goes_on(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a prompt without a word, which leaves open whether hours of work are lost."""

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("motet.simulation.simulate", interrupted)
    ran = motet("simulate", study, "--out", tmp_path / "out")
    assert (ran.code, ran.err) == (130, "Stopped. The same command goes on where this one was.\n")


def test_data_that_changed_while_the_run_was_down(tmp_path: Path) -> None:
    """Catches sums of the old data finished with effects of the new."""
    study, out = consortium(tmp_path, form="npy"), tmp_path / "out"
    killed_at("finish ", "simulate", study, "--out", out)
    assert (out / ".progress.npz").exists()
    people, values = people_of("birch", 16, seed=9)
    write_site(tmp_path / "data/birch", people, values, form="npy")
    said = succeeded("simulate", study, "--out", out)
    assert "birch has other data now, or lost what it kept" in " ".join(said.split())
    succeeded("simulate", study, "--out", tmp_path / "fresh")
    assert files(out / "shared") == files(tmp_path / "fresh/shared")
    for site in SITES:
        name = f"sites/{site}/harmonized/features.npy"
        assert (out / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_killed_at_any_moment(pause: float, tmp_path: Path) -> None:
    """Catches what the points above do not think of: the real command, killed when it pleases."""
    study, out = consortium(tmp_path, form="npy"), tmp_path / "out"
    features = [f"voxel{j}" for j in range(5_000)]
    for site in SITES:
        people, _ = people_of(site, 40)
        values = np.random.default_rng([3, *site.encode()]).normal(2, 0.1, (40, len(features)))
        write_site(tmp_path / "data" / site, people, values, form="npy", features=features)
    succeeded("simulate", study, "--out", tmp_path / "whole")
    words = ["from motet.cli import main; main()", "simulate", str(study), "--out", str(out)]
    words += ["--reports", "later"]
    child = subprocess.Popen([sys.executable, "-c", *words], stdout=subprocess.DEVNULL)
    while not (out / "plan.json").exists():
        assert child.poll() is None
        time.sleep(0.001)
    time.sleep(pause)
    child.kill()
    assert child.wait() in (-signal.SIGKILL, 0)
    succeeded("simulate", study, "--out", out)
    same(out, tmp_path / "whole")

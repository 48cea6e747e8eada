"""Participants harmonized in runs of their own, into one derivative."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pandas as pd
import pytest

from conformance.brains import study_of, write_brains
from e2e.consortium import consortium, succeeded
from motet.apply import apply_model
from motet.errors import DataError, OutputFolderError
from motet.simulation import simulate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    paths = {
        site: write_brains(folder / site, batches={site: 3}, seed=k)
        for k, site in enumerate(("ash", "birch"))
    }
    for method in ("nyul", "z_score"):
        study = study_of(method, {}).model_copy(update={"sites": paths})
        simulate(study, out=folder / method, reports="later")
    return folder


def people(out: Path) -> list[str]:
    return pd.read_csv(out / "participants.tsv", sep="\t").participant_id.tolist()


def test_runs_side_by_side_equal_one_run(folder: Path, tmp_path: Path) -> None:
    """Catches a run that takes away what another has written, one after another or at once."""
    asked = {"model": folder / "nyul", "data": folder / "ash", "site": "ash"}
    apply_model(out=tmp_path / "one", **asked)
    apply_model(out=tmp_path / "runs", participants=["ash01"], **asked)
    others = [
        threading.Thread(
            target=apply_model,
            kwargs={"out": tmp_path / "runs", "participants": [label], **asked},
        )
        for label in ("ash00", "ash02", "ash01")
    ]
    for run in others:
        run.start()
    for run in others:
        run.join()
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*"))
    assert files == sorted(p.relative_to(tmp_path / "runs") for p in (tmp_path / "runs").rglob("*"))
    assert people(tmp_path / "runs") == ["sub-ash00", "sub-ash01", "sub-ash02"]
    for file in files:
        if (tmp_path / "one" / file).is_file():
            assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "runs" / file).read_bytes()


def test_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    """Catches people of two models in one table, and results that are lost to the second."""
    asked = {"data": folder / "ash", "out": tmp_path / "out", "site": "ash"}
    apply_model(folder / "nyul", participants=["ash01"], **asked)
    with pytest.raises(OutputFolderError, match=r"another model \(method\)"):
        apply_model(folder / "z_score", participants=["ash02"], **asked)
    assert people(tmp_path / "out") == ["sub-ash01"]


def test_tables_too(tmp_path: Path) -> None:
    """Catches measures for which it is otherwise."""
    study = consortium(tmp_path, n=12)
    succeeded("simulate", study, "--out", tmp_path / "study")
    site = ("--model", tmp_path / "study", "--site", "ash", tmp_path / "data/ash")
    succeeded("apply", *site, tmp_path / "whole", "participant")
    whole = pd.read_csv(tmp_path / "whole/features.tsv", sep="\t", dtype=str)
    for label in whole.participant_id.tolist():
        succeeded("apply", *site, tmp_path / "runs", "participant", "--participant-label", label)
    runs = pd.read_csv(tmp_path / "runs/features.tsv", sep="\t", dtype=str)
    expected = whole.sort_values("participant_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(runs, expected)


def test_another_person_does_not_stand_in_the_way(folder: Path, tmp_path: Path) -> None:
    """Catches a run of one participant that reads everybody's images."""
    data = Path(shutil.copytree(folder / "ash", tmp_path / "ash"))
    spoilt = data / "sub-ash02/anat/sub-ash02_T1w.nii.gz"
    spoilt.write_bytes(spoilt.read_bytes()[:200])
    asked = {"model": folder / "nyul", "data": data, "site": "ash"}
    apply_model(out=tmp_path / "out", participants=["ash01"], **asked)
    assert people(tmp_path / "out") == ["sub-ash01"]
    with pytest.raises(DataError, match="sub-ash02"):
        apply_model(out=tmp_path / "all", **asked)
    assert not (tmp_path / "all").exists()
    with pytest.raises(DataError, match="no participant nobody"):
        apply_model(out=tmp_path / "nobody", participants=["nobody", "ash01"], **asked)

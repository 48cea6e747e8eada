"""Where networks are trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conformance.cases import case
from conformance.federation import Federation
from e2e.consortium import consortium, refused
from e2e.consortium import motet as command
from motet.client.home import SiteSettings
from motet.config import checked, parse_study
from motet.errors import QuorumError, StudyFileError, TrainingError
from motet.params import parse_params
from motet.training.device import device_named
from motet.training.where import check_device

TRAIN = {"train": {"preset": "tiny", "batch": 4}, "evaluation": {"metrics": "none"}}


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a graphics card."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("without_cuda")
def test_cuda_that_is_not_there() -> None:
    """Catches a training that falls back in silence, and tables that suddenly need CUDA."""
    trained = parse_params(parse_study({"study": "s", "method": "deepcombat"}))
    with pytest.raises(TrainingError, match="CUDA is asked for"):
        check_device(trained, "cuda")
    check_device(trained, "auto")
    assert device_named("auto") == "cpu"
    check_device(parse_params(parse_study({"study": "s", "method": "combat"})), "cuda")


def test_auto_is_cuda_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a card that is never used."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (device_named("auto"), device_named("cpu")) == ("cuda", "cpu")


@pytest.mark.usefixtures("without_cuda")
def test_a_simulation_is_refused_before_it_begins(tmp_path: Path) -> None:
    """Catches 'site ash is missing (training)' in the place of the sentence, and a folder left."""
    study = consortium(tmp_path, method="deepcombat", **TRAIN)
    ran = command("simulate", study, "--out", tmp_path / "out", "--device", "cuda")
    refused(ran, "CUDA is asked for", "nvidia-smi")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("without_cuda")
def test_a_hospital_says_it_before_anything_leaves() -> None:
    """Catches a deployed site that finds out in the middle of a study."""
    federation = _federation("cuda")
    with pytest.raises(QuorumError, match="training"):
        federation.run()
    assert federation.asked("train.phase") == []
    assert "CUDA is asked for" in str(federation.errors[0][1])


def _federation(device: str) -> Federation:
    made = case("deepcombat", n=(12, 14), p=4, covariates=("age",))
    federation = Federation(made)
    for worker in federation.workers.values():
        worker._device = device
    return federation


def test_site_yaml() -> None:
    """Catches a key that is not read, and a device that nobody knows."""
    settings = {"name": "hh", "data": "data", "coordinator": "localhost:9443"}
    assert checked(SiteSettings, settings).device == "auto"
    assert checked(SiteSettings, {**settings, "device": "cpu"}).device == "cpu"
    with pytest.raises(StudyFileError, match="device"):
        checked(SiteSettings, {**settings, "device": "gpu"})

"""The perceptual term: VGG16's features by a file that every site has, or what stands for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conformance.brains import APART, opened, run, sites, study_of, write_brains
from motet.errors import DataError, StudyFileError
from motet.harmonizers.calamiti import vgg
from motet.harmonizers.calamiti.losses import Losses
from motet.harmonizers.calamiti.networks import Calamiti
from motet.params import parse_params
from motet.training.draws import Draws
from motet.training.phase import Train
from training.slabs import SHARED, of_people

BATCHES = {"b0": 2, "b1": 2, "b2": 2}


class Plain:
    """What reading the weights takes of a site."""

    name = "b0"

    def __init__(self, images: Any) -> None:
        self.data, self.scratch = images, {}


def state(seed: int = 0) -> dict[str, Tensor]:
    """Random weights, of more layers than are read."""
    torch.manual_seed(seed)
    made = {}
    for number, shape in {**vgg.SHAPES, 10: (256, 128, 3, 3)}.items():
        made[f"features.{number}.weight"] = 0.05 * torch.randn(shape)
        made[f"features.{number}.bias"] = 0.05 * torch.randn(shape[0])
    return made


def put(folder: Path, what: Any) -> str:
    """Write the file; its SHA-256."""
    file = folder / vgg.FILE
    file.parent.mkdir(exist_ok=True)
    torch.save(what, file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_brains(tmp_path, batches=BATCHES, contrasts=("T1w", "T2w"))


def study(**params: Any) -> Any:
    return study_of("calamiti", {"planes": ["axial"], **params})


def read(folder: Path, sha: str) -> dict[str, Any]:
    asked = study(vgg16=sha)
    return vgg.weights_of(Plain(opened(folder, asked)), parse_params(asked))  # type: ignore[arg-type]


def test_features_are_those_of_torchvisions_layers(folder: Path) -> None:
    """Catches a layer that is left out, a pooling in the wrong place, and grey that is no grey."""
    weights = state()
    found = read(folder, put(folder, weights))
    plain = nn.Sequential(
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2, 2), nn.Conv2d(64, 128, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(128, 128, 3, padding=1), nn.ReLU()),
    )
    plain.load_state_dict(
        {f"{n}.{p}": weights[f"features.{n}.{p}"] for n in vgg.SHAPES for p in ("weight", "bias")}
    )
    batch = {name: torch.from_numpy(array) for name, array in found.items()}
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        want = plain(x.repeat(1, 3, 1, 1))
        assert torch.allclose(vgg.features(batch, x), want, atol=1e-5 * float(want.abs().max()))
        other = torch.rand(2, 1, 32, 32)
        apart = (plain(other.repeat(1, 3, 1, 1)) - want).abs().mean(dim=(1, 2, 3))
        assert torch.allclose(vgg.apart(batch, other, x), apart, rtol=1e-4)


def test_it_takes_the_place_of_the_differences_of_neighbours(folder: Path) -> None:
    """Catches both terms at once, and a term over several samples: exact would not be pooled."""
    given = read(folder, put(folder, state()))
    weights = {name: torch.from_numpy(array).double() for name, array in given.items()}
    torch.manual_seed(0)
    net = Calamiti(parse_params(study()).sizes).double()
    made, people = Losses(cooling=2e-4, augment=0.0), of_people(np.arange(2))

    def losses(rows: list[int], **beside: Tensor) -> Mapping[str, Tensor]:
        keys = torch.from_numpy(people.keys(0)[rows])
        seen = {name: torch.from_numpy(array[rows]) for name, array in people.arrays.items()}
        seen |= {"other": seen["x"], "cumulated": torch.from_numpy(SHARED["cumulated"])}
        return made.generator(net, seen | beside, Draws(keys, 7, torch.float64))

    plain, by_vgg = losses([0, 1, 4]), losses([0, 1, 4], **weights)
    assert set(plain) - set(by_vgg) == {"gradient"}
    assert set(by_vgg) - set(plain) == {"perceptual"}
    alone = [losses([row], **weights)["perceptual"] for row in (0, 1, 4)]
    assert torch.allclose(torch.cat(alone), by_vgg["perceptual"], rtol=1e-10)
    assert (by_vgg["perceptual"] > 0).all()


def test_a_run_with_it_says_so_and_differs(folder: Path) -> None:
    """Catches a file that is asked for and not used."""
    sha = put(folder, state())

    def trained(**params: Any) -> Any:
        asked = study(**params)
        result, _ = run(asked, sites(opened(folder, asked), APART))
        return result

    plain, by_vgg = trained(), trained(vgg16=sha)
    losses = [
        sorted(p.update("generator").weights)
        for result in (plain, by_vgg)
        for p in result.plan.phases
        if isinstance(p, Train)
    ]
    assert "gradient" in losses[0]
    assert "perceptual" in losses[1]
    assert "gradient" not in losses[1]
    change = by_vgg.shared["networks.decoder"] - plain.shared["networks.decoder"]
    assert abs(change).max() > 1e-6
    assert by_vgg.plan.hash != plain.plan.hash


def test_a_site_without_the_file_refuses_before_anything_is_trained(folder: Path) -> None:
    """Catches a site that trains by another term than the others."""
    asked = study(vgg16=64 * "a")
    with pytest.raises(DataError, match="is not there") as raised:
        run(asked, sites(opened(folder, asked), APART))
    assert "weights/vgg16.pth" in str(raised.value)
    assert "the same at every site" in str(raised.value)


def test_a_site_with_another_file_refuses(folder: Path) -> None:
    sha = put(folder, state())
    other = put(folder, state(seed=1))
    with pytest.raises(DataError, match="another file") as raised:
        read(folder, sha)
    assert sha[:12] in str(raised.value)
    assert other[:12] in str(raised.value)


@pytest.mark.parametrize(
    "what",
    [
        {"classifier.0.weight": torch.zeros(2)},
        {**state(), "features.2.weight": torch.zeros(64, 3, 3, 3)},
        nn.Linear(2, 2),
    ],
    ids=["other names", "another shape", "an object"],
)
def test_a_file_of_something_else_is_refused(what: Any, folder: Path) -> None:
    """Catches a file whose code is run when it is read."""
    with pytest.raises(DataError, match="no weights of VGG16") as raised:
        read(folder, put(folder, what))
    assert "features.0.weight" in str(raised.value)


def test_what_is_no_sha256_is_told_how_to_get_it() -> None:
    with pytest.raises(StudyFileError, match=r"sha256sum weights/vgg16\.pth"):
        parse_params(study(vgg16="weights/vgg16.pth"))

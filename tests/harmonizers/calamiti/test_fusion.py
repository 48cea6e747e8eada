"""The network that makes one volume of those of three planes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conformance.brains import APART, opened, run, sites, study_of, write_brains
from motet.errors import StudyFileError
from motet.harmonizers.calamiti.fusion import NAME, Fusion
from motet.harmonizers.calamiti.fusion_network import median
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.volumes import cube, windows
from motet.params import parse_params
from motet.site import draw
from motet.strategies.exact import exact
from motet.strategies.in_place import InPlace
from motet.training.at_site import train_at_site
from motet.training.coordinator import Trainer
from motet.training.networks import build
from motet.training.order import Order
from motet.training.phase import Train
from motet.training.samples import Samples
from training import toy
from training.slabs import PEOPLE, SIZES

EDGE = 8
SHARED = {"volumes": np.asarray(2 * len(PEOPLE))}


def phase(preset: str = "tiny", **train: Any) -> Train:
    asked = {"train": {"preset": preset, **train}, "fusion": "network"}
    return Fusion(CalamitiParams.model_validate(asked), None).step()  # type: ignore[arg-type]


def of_people(rows: np.ndarray) -> Samples:
    """Volumes of two contrasts, and noisy versions of them."""
    rng = np.random.default_rng(0)
    x = rng.random((len(PEOPLE), 2, EDGE, EDGE, EDGE))
    x[rng.random(x.shape) < np.linspace(0.1, 0.8, len(PEOPLE))[:, None, None, None, None]] = 0.0
    made = x[:, :, None] + 0.1 * rng.standard_normal((len(PEOPLE), 2, 3, EDGE, EDGE, EDGE))
    return Samples(
        arrays={
            "x": x[rows].reshape(-1, *x.shape[2:]),
            "made": made[rows].reshape(-1, 3, *x.shape[2:]),
        },
        people=np.repeat([f"sub-{i:02d}" for i in rows], 2),
        parts=np.tile(np.arange(2), len(rows)),
        batch=np.repeat(PEOPLE[rows], 2).astype(np.intp),
    )


def made_up(preset: str) -> Train:
    found = phase(preset, mode="exact", steps=20)
    how = {"batch": 6, "epochs": 0.0, "precision": "float64", "transfer": "float64"}
    options = found.options.model_copy(update=how)
    return replace(found, samples=lambda site, shared: of_people(site.data), options=options)


class Pooled:
    """A plain loop over everybody, with torch's own mean and AdamW."""

    def __init__(self, train: Train, *, within: bool, seed: int = 3) -> None:
        self.within = within
        self.train, self.samples = train, of_people(np.arange(len(PEOPLE)))
        torch.manual_seed(int(draw(seed, "first weights", NAME).integers(2**63)))
        self.net = train.build(SIZES).double()
        count = len(self.samples)
        self.order = Order.alike(self.samples.keys(seed), per_epoch=train.per_epoch(count))
        self.adamw = torch.optim.AdamW(self.net.parameters(), lr=7e-4)

    def loss(self, step: int) -> torch.Tensor:
        rows = self.order.due(step)
        x, made = (torch.from_numpy(self.samples.arrays[name][rows]) for name in ("x", "made"))
        apart = (self.net(made) - x).abs()
        if not self.within:
            return apart.mean()
        each = [one[where > 0].mean() for one, where in zip(apart, x, strict=True)]
        return torch.stack(each).mean()

    def step(self, step: int) -> None:
        self.net.zero_grad()
        self.loss(step).backward()
        self.adamw.step()


def test_parameters_are_as_many_as_published() -> None:
    """Catches a layer, a bias or a channel that is missing; and a plan that declares another
    size than leaves."""
    for preset, expected in (("paper", 19_713), ("small", None), ("tiny", None)):
        train = phase(preset)
        count = sum(p.numel() for p in train.build({}).parameters())
        assert count == train.group(NAME).size
        assert expected in (None, count)
    paper = phase("paper")
    assert paper.update(NAME).optimizer == {"name": "adamw", "lr": 7e-4}
    assert (paper.options.batch, paper.options.epochs) == (1, 20.0)


@pytest.mark.parametrize(
    ("asked", "done"),
    [
        ({}, "fedavg"),
        ({"server": "scaffold"}, "fedavg"),
        ({"server": "fedprox"}, "fedprox"),
        ({"server": "fedadam"}, "fedadam"),
    ],
)
def test_how_its_networks_are_combined(asked: dict[str, str], done: str) -> None:
    """Catches control variates in so short a training, and an option that does not reach it."""
    assert phase("small", **asked).options.server == done


@cache
def trained_together(preset: str) -> tuple[np.ndarray, ...]:
    """Gradients of everybody's first step, and parameters before it and after twenty."""

    def numbers(of: Iterable[torch.Tensor]) -> np.ndarray:
        return torch.cat([one.detach().reshape(-1) for one in of]).numpy().copy()

    pooled = Pooled(made_up(preset), within=preset == "small")
    pooled.loss(0).backward()
    gradients = numbers(p.grad for p in pooled.net.parameters())  # type: ignore[misc]
    before = numbers(pooled.net.parameters())
    for step in range(20):
        pooled.step(step)
    return gradients, before, numbers(pooled.net.parameters())


@pytest.mark.parametrize("preset", ["tiny", "small"])
@pytest.mark.parametrize("where", [(0, 1, 2, 3, 4), (2, 0, 1, 0, 2)], ids=str)
def test_exact_mode_is_training_in_one_place(where: Sequence[int], preset: str) -> None:
    """Catches norms over several volumes, volumes whose order a site decides, and the size of all
    brains for each one's."""
    train = made_up(preset)
    want, before, now = trained_together(preset)
    tables = toy.sites_of(where, PEOPLE)
    turn = train.turn(0)
    told = Trainer(train, sizes=SIZES, seed=3, samples=2 * len(PEOPLE)).told(turn)
    sent = [train_at_site(train, turn, s, {**SHARED, **told}) for s in tables.values()]  # type: ignore[arg-type]
    count = sum(int(one["samples"][0]) for one in sent)
    assert count == len(Pooled(train, within=preset == "small").order.due(0)) > 0
    got = sum(one[NAME] for one in sent) / count
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())
    ask = InPlace(sites=toy.sites_of(where, PEOPLE), sizes=SIZES, seed=3)  # type: ignore[arg-type]
    networks = build(train, SIZES, seed=3)
    networks.load(NAME, exact(train, ask, SHARED)[f"{NAME}.{NAME}"])
    found = torch.cat([p.detach().reshape(-1) for p in networks.module.parameters()])
    np.testing.assert_allclose(found.numpy(), now, rtol=0, atol=1e-10)
    assert np.abs(now - before).max() > 1e-3


def test_small_begins_as_the_median() -> None:
    """Catches a short training that leaves people with less than the median."""
    net = phase("small").build({}).double()
    made = torch.from_numpy(np.random.default_rng(0).random((2, 3, EDGE, EDGE, EDGE)))
    with torch.no_grad():
        assert torch.equal(net(made), made.median(dim=1).values)
        two = made[:, :2]
        assert torch.equal(median(two), two.mean(dim=1))


def test_a_volume_comes_out_of_a_cube_as_it_went_in() -> None:
    """Catches a volume that is moved by a voxel on the way through the network."""
    for shape in ((5, 8, 7), (8, 8, 8), (1, 2, 3)):
        volume = np.random.default_rng(0).random((2, *shape))
        there = cube(volume, EDGE)
        assert there.shape == (2, EDGE, EDGE, EDGE)
        assert there.sum() == pytest.approx(volume.sum())
        assert np.array_equal(there[(slice(None), *windows(shape, EDGE))], volume)


def test_the_network_is_trained_and_used(tmp_path: Path) -> None:
    """Catches a network that is trained while the median makes the images, and one that is not."""
    folder = write_brains(tmp_path, batches={"b0": 3, "b1": 2, "b2": 3}, contrasts=("T1w", "T2w"))

    def made(**params: Any) -> tuple[Any, dict[str, np.ndarray]]:
        study = study_of("calamiti", {"planes": ["axial", "coronal"], **params})
        study = study.model_copy(update={"train": {"preset": "tiny", "mode": "local"}})
        return run(study, sites(opened(folder, study), APART))

    result, fused = made(fusion="network")
    plain, median = made()
    assert [p.name for p in result.plan.phases if isinstance(p, Train)] == ["networks", NAME]
    assert int(result.shared["volumes"]) == 16
    assert f"{NAME}.{NAME}" not in plain.shared
    # The networks before it are the same: what differs is how planes are combined.
    assert np.array_equal(result.shared["networks.decoder"], plain.shared["networks.decoder"])
    assert all(not np.array_equal(fused[who], median[who]) for who in fused)
    assert all(np.isfinite(image).all() for image in fused.values())
    first = build(result.plan.train_at(NAME), result.schema.sizes, seed=3).vector(NAME)
    assert np.abs(result.shared[f"{NAME}.{NAME}"] - first).max() > 1e-4


def test_one_plane_has_nothing_to_combine() -> None:
    with pytest.raises(StudyFileError, match="axial alone") as raised:
        parse_params(study_of("calamiti", {"planes": ["axial"], "fusion": "network"}))
    assert "take 'fusion' out" in str(raised.value)

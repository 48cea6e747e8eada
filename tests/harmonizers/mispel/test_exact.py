"""Gradients of every mode beside the equations, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from conformance.brains import write_brains
from conformance.travelers import (
    SCANNERS,
    SEED,
    SITES,
    TRAVELERS,
    at_hub,
    gradients,
    images_of,
    in_pairs,
    local_sites,
    own,
    params_of,
    random_units,
    refreshed,
    schema_of,
    slices,
)
from motet.harmonizers.mispel.grid import corners
from motet.harmonizers.mispel.training import Stage, Training
from motet.images.images import Images
from reference import dense_mispel as dense

HUB = {"mode": "hub", "hub": "hub"}
PAIRS = {"mode": "pairs", "hub": "ref"}
STAGES: tuple[Stage, Stage] = ("embedding", "harmonization")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    folder = tmp_path_factory.mktemp("brains")
    one = dict.fromkeys(SCANNERS, 1)
    return images_of(write_brains(folder, batches=one, travelers=TRAVELERS))


def near(found: np.ndarray, expected: np.ndarray) -> None:
    scale = max(float(np.abs(expected).max()), 1e-6)
    assert np.abs(found - expected).max() <= 1e-10 * scale


def pooled(vectors: dict[str, np.ndarray], x: list[torch.Tensor], loss: Any) -> list[np.ndarray]:
    """Gradients of the units by the equations; ``loss(x, z, made)``."""
    flat = [torch.tensor(vectors[f"unit.{b}"], requires_grad=True) for b in vectors_of(vectors)]
    made = [dense.unit(v, one) for v, one in zip(flat, x, strict=True)]
    total = loss(x, [z for z, _ in made], [y for _, y in made])
    return [g.numpy() for g in torch.autograd.grad(total, flat)]


def vectors_of(vectors: dict[str, np.ndarray]) -> list[str]:
    return sorted(name.removeprefix("unit.") for name in vectors)


def step_one(stride: int = 1, corner: Any = None) -> Any:
    return lambda x, z, made: 0.3 * dense.recon(x, made) + dense.coupling(z, stride, corner)


def step_two(x: Any, z: Any, made: Any) -> Any:
    return dense.recon(x, made) + 4.0 * dense.harmonization(made)


def test_a_hub(images: Images) -> None:
    """Catches a wrong layer, variance, weight or mean: both steps of all units at a hub."""
    params, sites = params_of(**HUB), local_sites(at_hub(images))
    site, training = sites["hub"], Training(params, schema_of(sites))
    site.keep.update(random_units(params, SCANNERS))
    bench = training.bench(site)
    x = [slices(bench, b) for b in SCANNERS]
    vectors = random_units(params, SCANNERS)
    maps = params.sizes.maps
    for stage, loss in (("embedding", step_one()), ("harmonization", step_two)):
        found = gradients(training, bench, site.keep, stage)  # type: ignore[arg-type]
        for b, expected in zip(SCANNERS, pooled(vectors, x, loss), strict=True):
            near(found[b], expected if stage == "embedding" else expected[-maps:])


@pytest.mark.parametrize(("stride", "turn"), [(1, 0), (2, 0), (3, 7)])
@pytest.mark.parametrize("together", [False, True], ids=["three sites", "two sites"])
def test_every_site_with_its_own_scans(
    stride: int, turn: int, together: bool, images: Images
) -> None:
    """Catches a consensus that is not the mean, or is of other pixels than it is compared with; a
    gradient that is not the pooled one of a fresh consensus, and a site with two scanners that
    counts as one."""
    params = params_of(**SITES, stride=stride, largest=100.0)
    tables = own(images)
    if together:
        both = np.isin(images.batch, ("b0", "b2"))
        tables = {"y": images.where(both).as_site("y"), "b1": tables["b1"]}
    sites = local_sites(tables)
    training, vectors = Training(params, schema_of(sites)), random_units(params, SCANNERS)
    for site in sites.values():
        site.keep.update({f"unit.{b}": vectors[f"unit.{b}"] for b in site.batches})
        # As after some turns, of which each left a row.
        site.keep.update({f"losses.{s}": np.zeros((turn, 2)) for s in STAGES})
    refreshed(sites, params, "consensus", "values", "signs")
    benches = {name: training.bench(site) for name, site in sites.items()}
    x = {b: slices(bench, b) for bench in benches.values() for b in bench.names}
    pictures = [x[b] for b in SCANNERS]
    cut = next(iter(benches.values())).stack
    where = corners(cut.people, cut.parts, stride=stride, seed=SEED, turn=turn).tolist()

    def surrogate(x: Any, z: Any, made: Any) -> Any:
        return dense.recon(x, made) + 4.0 * dense.surrogate(made, stride, where)

    maps = params.sizes.maps
    for stage, loss in zip(STAGES, (step_one(stride, where), surrogate), strict=True):
        expected = dict(zip(SCANNERS, pooled(vectors, pictures, loss), strict=True))
        for name, site in sites.items():
            found = gradients(training, benches[name], site.keep, stage)
            for b, gradient in found.items():
                near(gradient, expected[b] if stage == "embedding" else expected[b][-maps:])


def test_a_coupling_that_rises(images: Images) -> None:
    """Catches a coupling that has its whole weight from the first step on, or other weights that
    rise with it."""
    params, sites = params_of(**HUB, coupling=50.0, rising=0.5), local_sites(at_hub(images))
    site, training = sites["hub"], Training(params, schema_of(sites))
    vectors = random_units(params, SCANNERS)
    site.keep.update(vectors)
    bench = training.bench(site)
    found = gradients(training, bench, site.keep, "embedding")

    def faint(x: Any, z: Any, made: Any) -> Any:
        return 0.3 * dense.recon(x, made) + 50.0 / 1000.0 * dense.coupling(z)

    x = [slices(bench, b) for b in SCANNERS]
    for b, expected in zip(SCANNERS, pooled(vectors, x, faint), strict=True):
        near(found[b], expected)


def test_pairs_with_a_reference(images: Images) -> None:
    """Catches pairs that know of each other, and a reference whose unit is trained by one alone."""
    params, sites = params_of(**PAIRS), local_sites(in_pairs(images))
    site, training = sites["ref"], Training(params, schema_of(sites))
    vectors = random_units(params, SCANNERS)
    site.keep.update(vectors)
    bench = training.bench(site)
    half, maps = len(bench.stack) // 2, params.sizes.maps
    reference = slices(bench, "b0")
    for stage, loss in (("embedding", step_one()), ("harmonization", step_two)):
        found = gradients(training, bench, site.keep, stage)  # type: ignore[arg-type]
        total = np.zeros(params.sizes.unit)
        for other, part in (("b1", reference[:half]), ("b2", reference[half:])):
            two = {name: vectors[name] for name in ("unit.b0", f"unit.{other}")}
            of_reference, of_other = pooled(two, [part, slices(bench, other)], loss)
            total += of_reference / 2  # a mean over all slices, half of them of each pair
            near(found[other], (of_other / 2)[0 if stage == "embedding" else -maps :])
        near(found["b0"], total[0 if stage == "embedding" else -maps :])


def test_the_surrogate_is_the_loss_of_two_scanners() -> None:
    """Catches a factor: for two scanners the surrogate is exact, and bounds the loss for more."""
    rng = torch.Generator().manual_seed(1)
    for m in (2, 3, 4, 7):
        made = [torch.rand(2, 5, 6, generator=rng, dtype=torch.float64) for _ in range(m)]
        loss, other = float(dense.harmonization(made)), float(dense.surrogate(made))
        assert other <= loss * (1 + 1e-12) <= 2 * other * (1 + 1e-12)
        if m == 2:
            assert other == pytest.approx(loss, rel=1e-14)

"""A target's style code is fitted to the target's own people."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from conformance.brains import opened, study_of, write_brains
from motet.harmonizers._images.numbers import SLICES, parts
from motet.harmonizers.calamiti.fitting import RATE, _error, fitted
from motet.harmonizers.calamiti.networks import Calamiti
from motet.harmonizers.calamiti.params import CalamitiParams
from training.slabs import BRAIN, PEOPLE, X, of_people

Float = NDArray[np.float64]
SCANNER = 3
EVERYBODY = np.arange(len(PEOPLE))


def params(steps: int, preset: str = "small", **given: Any) -> CalamitiParams:
    asked = {"train": {"preset": preset, "precision": "float64"}, "pixels": 32}
    return CalamitiParams.model_validate({**asked, "style_steps": steps, **given})


def networks(how: CalamitiParams) -> Calamiti:
    torch.manual_seed(0)
    return Calamiti(how.sizes).to(torch.float64)


def begun(how: CalamitiParams) -> Float:
    return np.random.default_rng(0).normal(0.0, 0.3, (len(how.contrasts), how.sizes.codes))


def code(how: CalamitiParams, people: NDArray[np.intp] = EVERYBODY) -> Float:
    seen = of_people(people, contrasts=len(how.contrasts))
    rows = np.flatnonzero(seen.batch == SCANNER)
    return fitted(networks(how), how, seen, rows, seed=3, theta=begun(how))


def error(how: CalamitiParams, theta: Float) -> float:
    """Mean error of the scanner's people, slice by slice, as the paper would write it."""
    net, total = networks(how), []
    for person in np.flatnonzero(PEOPLE == SCANNER):
        for slab, brain in zip(X[person], BRAIN[person], strict=True):
            inside = torch.from_numpy(brain.astype(np.float64))[None, None]
            brains = net.brains(inside)
            x = [torch.from_numpy(one)[None, None] for one in slab[: len(theta)]]
            with torch.no_grad():
                logits = [net.logits(one, brains) for one in x]
                both = torch.stack(logits).mean(dim=0)
                for c, one in enumerate(x):
                    anatomy = net.code(both if how.anatomy_of == "both" else logits[c], None, 1.0)
                    made = net.decode(anatomy, torch.from_numpy(theta[c])[None], brains)
                    apart = (made - one).abs()
                    if net.sizes.within:
                        total.append(float((apart * inside).sum() / inside.sum()))
                    else:
                        total.append(float(apart.mean()))
    return float(np.mean(total))


@pytest.mark.parametrize("given", [{}, {"anatomy_of": "each"}, {"second": ""}, {"preset": "tiny"}])
def test_the_error_is_that_of_images_as_they_are_made(given: dict[str, Any]) -> None:
    """Catches another anatomy than images are made of, and styles that change contrasts."""
    how = params(1, **given)
    seen = of_people(np.flatnonzero(PEOPLE == SCANNER), contrasts=len(how.contrasts))
    batch = {name: torch.from_numpy(seen.arrays[name]) for name in ("x", "brain")}
    with torch.no_grad():
        found = _error(networks(how), how, batch, torch.from_numpy(begun(how))) / len(seen)
    assert float(found) == pytest.approx(error(how, begun(how)), rel=1e-12)


@pytest.mark.parametrize(
    ("given", "at_most"),
    [
        ({}, 0.97),
        ({"anatomy_of": "each"}, 0.97),
        ({"second": ""}, 0.97),
        # First weights of the published networks hardly follow their two numbers.
        ({"preset": "tiny"}, 0.9995),
    ],
    ids=["small", "of each", "one contrast", "as published"],
)
def test_a_code_is_fitted_to_the_scanner_s_people(given: dict[str, Any], at_most: float) -> None:
    """Catches a descent on other people, on another contrast's style, with another anatomy than
    images are made of, or uphill."""
    how = params(25, **given)
    first, found = begun(how), code(how)
    assert found.shape == first.shape
    assert error(how, found) < at_most * error(how, first)


def test_the_first_step_goes_against_the_gradient() -> None:
    """Catches gradients of a step that are of fewer than its people, or of a wrong sign: Adam's
    first step has the length of the rate in every number, whatever the gradient's."""
    how = params(1)
    # Nine slices of three people; a step is of most of them.
    first = begun(how)
    step = code(how) - first
    np.testing.assert_allclose(np.abs(step), RATE, rtol=0.05)
    agree = []
    for at in list(np.ndindex(first.shape))[::11]:
        up, down = first.copy(), first.copy()
        up[at] += 1e-4
        down[at] -= 1e-4
        agree.append(step[at] * (error(how, up) - error(how, down)) < 0)
    assert np.mean(agree) > 0.7


def test_a_code_is_of_the_scanner_and_not_of_its_site() -> None:
    """Catches a code that depends on who else is at the site, or on the order of its rows."""
    how = params(3)
    alone = np.flatnonzero(PEOPLE == SCANNER)
    np.testing.assert_allclose(code(how), code(how, alone), atol=1e-10)
    np.testing.assert_allclose(code(how), code(how, EVERYBODY[::-1]), atol=1e-10)


def test_slices_of_a_scanner_are_numbered_without_the_site_s_others(tmp_path: Path) -> None:
    """Catches draws of a person's slices that depend on scans on another scanner of the site."""
    study = study_of("calamiti", {"planes": ["axial"], "second": ""})
    folder = write_brains(tmp_path, batches={"b0": 2, "b1": 2}, travelers=["t1"])
    images = opened(folder, study)
    whose = np.array([f"{p}\x1f{b}" for p, b in zip(images.people, images.batch, strict=True)])
    assert len(set(images.people)) < len(images) == len(set(whose))
    cache: Any = SimpleNamespace(
        row=np.arange(len(images)),
        plane=np.zeros(len(images), dtype=int),
        index=np.arange(len(images)) % 2,
    )
    of_scanner, of_site = parts(cache, whose), parts(cache, images.people)
    assert of_scanner.max() < SLICES <= of_site.max()

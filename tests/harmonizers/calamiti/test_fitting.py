"""A target's style code is fitted to the target's own people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from conformance.brains import opened, run, sites, study_of, write_brains
from motet.harmonizers._images.numbers import SLICES, parts
from motet.harmonizers.calamiti import fitting
from motet.harmonizers.calamiti.fitting import RATE, fitted
from motet.harmonizers.calamiti.networks import Calamiti
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.training.samples import Samples
from training.slabs import BRAIN, PEOPLE, X, of_people

Float = NDArray[np.float64]
SCANNER = 3
EVERYBODY = np.arange(len(PEOPLE))
GAIN = 0.8 + 0.15 * np.arange(5)
"""Of every scanner: what is fitted to another's people is another code."""
OPTIONS: list[dict[str, Any]] = [
    {},
    {"anatomy_of": "each"},
    {"second": ""},
    {"preset": "tiny"},
]
"""Of the preset ``small``, where it is not another."""
IDS = ["small", "of each", "one contrast", "as published"]


def params(steps: int, preset: str = "small", **given: Any) -> CalamitiParams:
    asked = {"train": {"preset": preset, "precision": "float64"}, "pixels": 32}
    return CalamitiParams.model_validate({**asked, "style_steps": steps, **given})


def networks(how: CalamitiParams, dtype: torch.dtype = torch.float64) -> Calamiti:
    torch.manual_seed(0)
    return Calamiti(how.sizes).to(torch.float64).to(dtype)


def begun(how: CalamitiParams) -> Float:
    return np.random.default_rng(0).normal(0.0, 0.3, (len(how.contrasts), how.sizes.codes))


def seen_of(how: CalamitiParams, people: NDArray[np.intp]) -> Samples:
    seen = of_people(people, contrasts=len(how.contrasts))
    x = seen.arrays["x"] * GAIN[seen.batch][:, None, None, None]
    return replace(seen, arrays={**seen.arrays, "x": x})


def code(
    how: CalamitiParams,
    people: NDArray[np.intp] = EVERYBODY,
    scanner: int = SCANNER,
    dtype: torch.dtype = torch.float64,
) -> Float:
    seen = seen_of(how, people)
    rows = np.flatnonzero(seen.batch == scanner)
    return fitted(networks(how, dtype), how, seen, rows, seed=3, theta=begun(how))


def error(how: CalamitiParams, theta: Tensor, scanner: int = SCANNER) -> Tensor:
    """Mean error of the scanner's people, slice by slice, as the paper would write it."""
    net, total = networks(how), []
    for person in np.flatnonzero(scanner == PEOPLE):
        for slab, brain in zip(GAIN[scanner] * X[person], BRAIN[person], strict=True):
            inside = torch.from_numpy(brain.astype(np.float64))[None, None]
            brains = net.brains(inside)
            x = [torch.from_numpy(one)[None, None] for one in slab[: len(theta)]]
            with torch.no_grad():
                logits = [net.logits(one, brains) for one in x]
            both = torch.stack(logits).mean(dim=0)
            for c, one in enumerate(x):
                anatomy = net.code(both if how.anatomy_of == "both" else logits[c], None, 1.0)
                made = net.decode(anatomy, theta[c][None], brains)
                apart = (made - one).abs()
                if net.sizes.within:
                    total.append((apart * inside).sum() / inside.sum())
                else:
                    total.append(apart.mean())
    return torch.stack(total).mean()


def number(how: CalamitiParams, theta: Float, scanner: int = SCANNER) -> float:
    with torch.no_grad():
        return float(error(how, torch.from_numpy(theta), scanner))


@pytest.mark.parametrize("given", OPTIONS, ids=IDS)
def test_a_code_is_that_of_a_plain_descent(given: dict[str, Any]) -> None:
    """Catches a descent on other people, on another contrast's style, with another anatomy than
    images are made of, uphill, or on a part of a step's slices.

    The scanner has fewer slices than a step: every step is of all of them.
    """
    scanner, steps = 2, 5
    how = params(steps, **given)
    theta = torch.from_numpy(begun(how)).requires_grad_()
    adam = torch.optim.Adam([theta], lr=RATE)
    for step in range(steps):
        falls = 0.5 * (1.0 + np.cos(np.pi * step / steps))
        adam.param_groups[0]["lr"] = RATE * (0.01 + 0.99 * falls)
        adam.zero_grad()
        error(how, theta, scanner).backward()
        adam.step()
    found = theta.detach().numpy()
    assert number(how, found, scanner) < number(how, begun(how), scanner)
    np.testing.assert_allclose(code(how, scanner=scanner), found, atol=1e-10)


def test_a_code_of_many_slices_is_nearer_to_all_of_them() -> None:
    """Catches steps that are all of the same few slices."""
    how = params(12)
    assert number(how, code(how)) < 0.97 * number(how, begun(how))


def test_a_code_that_is_no_better_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a descent that went astray, or to what is no number, and is published."""
    for rate in (1e3, float("inf")):
        monkeypatch.setattr(fitting, "RATE", rate)
        assert np.array_equal(code(params(2)), begun(params(2)))


def test_a_code_of_single_precision_is_the_same() -> None:
    """Catches a code of another type than the networks, and one that single precision leads astray.

    Adam's steps are as long where the gradient is all rounding: errors are compared, not codes.
    """
    how = params(5)
    single, double = (code(how, dtype=dtype) for dtype in (torch.float32, torch.float64))
    gained = number(how, begun(how)) - number(how, double)
    assert number(how, single) == pytest.approx(number(how, double), abs=0.01 * gained)


def test_a_code_is_of_the_scanner_and_not_of_its_site() -> None:
    """Catches a code that depends on who else is at the site, or on the order of its rows."""
    how = params(3)
    alone = np.flatnonzero(PEOPLE == SCANNER)
    np.testing.assert_allclose(code(how), code(how, alone), atol=1e-10)
    np.testing.assert_allclose(code(how), code(how, EVERYBODY[::-1]), atol=1e-10)


def test_codes_of_targets_are_fitted_in_a_run_and_nothing_else_is(tmp_path: Path) -> None:
    """Catches a code that is asked for and not fitted, and networks that fitting changes."""
    folder = write_brains(tmp_path, batches={"b0": 2, "b1": 2, "b2": 2})
    found = []
    for steps in (0, 6):
        how = {"planes": ["axial"], "second": "", "targets": ["b1"], "style_steps": steps}
        study = study_of("calamiti", how)
        tables = sites(opened(folder, study), {"b0": "ash", "b1": "ash", "b2": "birch"})
        found.append(run(study, tables)[0].shared)
    mean, fit = found
    assert mean.keys() == fit.keys()
    assert {n for n in mean if not np.array_equal(mean[n], fit[n])} == {"theta.0"}


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

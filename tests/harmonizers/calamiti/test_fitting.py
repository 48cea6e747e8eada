"""A target's style code is fitted to the target's own people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from conformance.brains import opened, run, sites, study_of, write_brains
from motet.harmonizers.calamiti import fitting, targets
from motet.harmonizers.calamiti.fitting import RATE, fitted
from motet.harmonizers.calamiti.networks import Calamiti
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.styles import MOST
from motet.training.feed import Due, Feed
from motet.training.samples import Samples
from training.slabs import BRAIN, PEOPLE, X, of_people

Float = NDArray[np.float64]
SCANNER = 2
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
    dtype: torch.dtype = torch.float64,
    begins: Float | None = None,
) -> Float:
    seen, theta = seen_of(how, people), begun(how) if begins is None else begins
    rows = np.flatnonzero(seen.batch == SCANNER)
    return fitted(networks(how, dtype), how, seen, rows, seed=3, theta=theta)


def error(how: CalamitiParams, theta: Tensor) -> Tensor:
    """Mean error of the scanner's people, slice by slice, as the paper would write it."""
    net, total = networks(how), []
    for person in np.flatnonzero(PEOPLE == SCANNER):
        for slab, brain in zip(GAIN[SCANNER] * X[person], BRAIN[person], strict=True):
            inside = torch.from_numpy(brain.astype(np.float64))[None, None]
            brains = net.brains(inside)
            x = [torch.from_numpy(one)[None, None] for one in slab[: len(theta)]]
            with torch.no_grad():
                logits = [net.logits(one, brains) for one in x]
            both = torch.stack(logits).mean(dim=0)
            for c, one in enumerate(x):
                anatomy = net.code(both if how.anatomy_of == "both" else logits[c], None, 1.0)
                made = net.decode(anatomy, theta[c][None], brains)
                apart = (made - one).abs() * inside
                total.append(apart.sum() / inside.sum() if net.sizes.within else apart.mean())
    return torch.stack(total).mean()


def number(how: CalamitiParams, theta: Float) -> float:
    with torch.no_grad():
        return float(error(how, torch.from_numpy(theta)))


@pytest.mark.parametrize("given", OPTIONS, ids=IDS)
def test_a_code_is_that_of_a_plain_descent(given: dict[str, Any]) -> None:
    """Catches a descent on other people, on another contrast's style, with another anatomy than
    images are made of, uphill, or on a part of a step's slices.

    The scanner has fewer slices than a step: every step is of all of them.
    """
    steps = 4
    how = params(steps, **given)
    theta = torch.from_numpy(begun(how)).requires_grad_()
    adam = torch.optim.Adam([theta], lr=RATE)
    for step in range(steps):
        falls = 0.5 * (1.0 + np.cos(np.pi * step / steps))
        adam.param_groups[0]["lr"] = RATE * (0.01 + 0.99 * falls)
        adam.zero_grad()
        error(how, theta).backward()
        adam.step()
    found = theta.detach().numpy()
    assert number(how, found) < number(how, begun(how))
    np.testing.assert_allclose(code(how), found, atol=1e-10)


def test_a_code_of_many_slices_is_of_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches steps that are all of the same few slices, or of more than a step has."""
    how, ahead, seen = params(24), Feed.ahead, []

    def spied(self: Feed, rows: Mapping[int, NDArray[np.intp]]) -> Iterator[Due]:
        seen.append(rows)
        return ahead(self, rows)

    monkeypatch.setattr(Feed, "ahead", spied)
    monkeypatch.setattr(fitting, "SLICES", 4)  # of six: steps begin in one pass and end in the next
    found = code(how)
    descent, judged = seen
    assert descent == judged
    due = np.concatenate(list(descent.values()))
    own = np.flatnonzero(seen_of(how, EVERYBODY).batch == SCANNER)
    passes = 24 * 4 / len(own)
    assert set(due) == set(own)
    assert abs(np.bincount(due)[own] - passes).max() < 1
    assert number(how, found) < 0.97 * number(how, begun(how))


def test_a_code_is_sent_where_it_is_nearer_than_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a code that is published although the mean is a little nearer, and one that is not
    although it is: steps of several lengths from where a descent has come already."""
    how = params(1)
    start = code(params(20))
    theta = torch.from_numpy(start.copy()).requires_grad_()
    error(how, theta).backward()
    assert theta.grad is not None
    gradient = theta.grad.numpy()
    # Adam's first step.
    way = -gradient / (np.abs(gradient) + 1e-8)
    before, rises = number(how, start), []
    for rate in (0.03, 1.0):
        monkeypatch.setattr(fitting, "RATE", rate)
        rises.append(number(how, start + rate * way) / before - 1)
        found = code(how, begins=start)
        expected = start + rate * way if rises[-1] < 0 else start
        np.testing.assert_allclose(found, expected, atol=1e-10)
    shorter, longer = rises
    assert -0.01 < shorter < 0 < longer < 0.05


def test_a_code_that_is_no_number_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a descent that goes astray and is published."""
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


def test_what_a_run_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a descent from elsewhere than the mean, over other people than the target's, by
    another seed, or a code beyond what a code may be; and anything else that fitting changes."""
    folder = write_brains(tmp_path, batches={"b0": 2, "b1": 3, "b2": 2})
    asked: list[tuple[Samples, NDArray[np.intp], int, Float]] = []

    def stub(
        networks: Any, params: Any, seen: Samples, rows: Any, *, seed: int, theta: Float
    ) -> Float:
        asked.append((seen, rows, seed, theta))
        return 1e3 * theta

    monkeypatch.setattr(targets, "fitted", stub)
    found = []
    for steps in (0, 6):
        how = {"planes": ["axial"], "second": "", "targets": ["b1"], "style_steps": steps}
        study = study_of("calamiti", how)
        # Two scanners at one site.
        tables = sites(opened(folder, study), {"b0": "ash", "b1": "ash", "b2": "birch"})
        found.append(run(study, tables)[0].shared)
    mean, fit = found
    ((seen, rows, seed, theta),) = asked
    assert seed == study.seed
    assert np.array_equal(theta, mean["theta.0"])
    assert set(seen.people[rows]) == {f"sub-b1{i:02d}" for i in range(3)}
    assert set(seen.people) > set(seen.people[rows])
    assert len(rows) == np.isin(seen.people, seen.people[rows]).sum()
    assert np.array_equal(fit["theta.0"], (1e3 * theta).clip(-MOST, MOST))
    assert MOST in np.abs(fit["theta.0"])
    assert {n for n in mean if not np.array_equal(mean[n], fit[n])} == {"theta.0"}

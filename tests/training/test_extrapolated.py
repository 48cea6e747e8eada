"""FedExP: how much further than the mean of their changes networks go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.strategies.extrapolated import extrapolation
from motet.strategies.fedavg import average, mean_change
from motet.strategies.plain_sum import add
from motet.training.at_site import train_at_site
from motet.training.coordinator import Trainer
from motet.training.exchange import as_float, exchange, mean_square
from motet.training.phase import SQUARES, WEIGHT, Turn
from training.toy import BATCH, SHARED, H, options, sites_of, toy

SIZES = {"batches": 5, "sites": 3}
WHERE = (0, 0, 1, 2, 2)
BUFFERS = {"critic": 3, "encoder": H}
"""Vectors of spectral norms, after the parameters."""


def local(**more: Any) -> Any:
    return options(mode="local", **{"steps": 8, "local_steps": 4, "extrapolate": True, **more})


def step_size(changes: np.ndarray, samples: np.ndarray) -> float:
    """That of one group, of what each site changed it by."""
    train: Any = SimpleNamespace(
        options=SimpleNamespace(extrapolate=True), averaged=lambda turn: turn.leaving
    )
    trainer: Any = SimpleNamespace(
        train=train, sizes={"sites": len(samples)}, count=lambda name: changes.shape[1]
    )
    turn = Turn(number=0, first=0, after=1, leaving=("net",))
    squares = sum(n * mean_square(row) for n, row in zip(samples, changes, strict=True))
    sums = {WEIGHT: np.array([samples.sum()]), SQUARES: np.array([squares])}
    mean = samples @ changes / samples.sum()
    return extrapolation(trainer, turn, sums, {"net": mean})["net"]


@given(sites=st.integers(1, 12), scale=st.floats(1e-6, 1.0))
def test_changes_that_agree_are_averaged_and_those_at_right_angles_are_not_halved(
    sites: int, scale: float
) -> None:
    """The published rule at its two ends. Catches a factor of lengths instead of their squares, one
    that depends on the unit, and one below 1."""
    samples = np.full(sites, 20.0)
    same = scale * np.tile(np.linspace(-1, 1, 15), (sites, 1))
    assert step_size(same, samples) == 1.0
    apart = scale * np.eye(sites, 15)
    assert step_size(apart, samples) == pytest.approx(max(1.0, sites / 2))


@given(samples=st.lists(st.integers(1, 200), min_size=2, max_size=8))
def test_sites_count_by_their_samples(samples: list[int]) -> None:
    """Catches plain means over sites of different sizes: of changes at right angles the squares
    beside the mean's are one over the sum of squared shares."""
    counts = np.array(samples, dtype=float)
    share = counts / counts.sum()
    expected = max(1.0, 1.0 / (2 * np.square(share).sum()))
    assert step_size(np.eye(len(samples)), counts) == pytest.approx(expected)


def test_changes_that_cancel_are_not_lengthened_without_end() -> None:
    """Catches a division by a mean of almost nothing, and of nothing."""
    opposite = np.array([[1.0, 0.0], [-1.0, 1e-9]])
    assert step_size(opposite, np.array([5.0, 5.0])) == 1.0
    four = np.array([[1.0], [-1.0], [1.0], [-1.0 + 1e-9]])
    assert step_size(four, np.full(4, 5.0)) == 2.0
    assert step_size(np.zeros((4, 3)), np.full(4, 5.0)) == 1.0


@pytest.mark.parametrize("transfer", ["float64", "bfloat16"])
def test_parameters_go_further_and_all_else_does_not(transfer: str) -> None:
    """One exchange by hand. Catches heads, moments or vectors of spectral norms that are
    lengthened, parameters that are not, squares that are not those of what left, one group's
    samples taken for another's, and the bits of a bfloat16 taken for a number."""
    train = toy(local(transfer=transfer))
    trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
    turn = train.turn(0)
    told = {**SHARED, **trainer.told(turn)}
    sent = {n: train_at_site(train, turn, s, told) for n, s in sites_of(WHERE).items()}  # type: ignore[arg-type]
    wide = {n: {k: as_float(a) for k, a in of.items()} for n, of in sent.items()}
    sums = add(wide)
    changes = mean_change(train, turn, sums)
    averaged = train.averaged(turn)
    assert averaged == ("critic", "encoder")
    for k, name in enumerate(averaged):
        group = turn.leaving.index(name)
        count = len(sums[name]) - BUFFERS[name]
        by_hand = sum(
            a[WEIGHT][group] * mean_square(a[name][:count] / a[WEIGHT][group])
            for a in wide.values()
        )
        np.testing.assert_allclose(sums[SQUARES][k], by_hand, rtol=1e-12)
    further = extrapolation(trainer, turn, sums, changes)
    assert set(further) == set(averaged)
    samples = dict(zip(turn.leaving, sums[WEIGHT], strict=True))
    assert samples["critic"] != samples["encoder"]  # its update runs every second step
    for k, name in enumerate(averaged):
        own = changes[name][: -BUFFERS[name]]
        eta = sums[SQUARES][k] / samples[name] / (2 * float(np.mean(own.astype(float) ** 2)))
        assert further[name] == pytest.approx(min(1.5, max(1.0, eta)))
    assert max(further.values()) > 1.0
    assert average(trainer, turn, sums) == further
    after = trainer.told(train.turn(1))
    for name, change in changes.items():
        if name not in turn.leaving:
            np.testing.assert_allclose(after[f"toy.{name}"], change, rtol=1e-12, atol=1e-300)
            continue
        factors = np.full(change.shape, further.get(name, 1.0))
        if name in BUFFERS:
            factors[-BUFFERS[name] :] = 1.0
        # Of a spectral norm, vectors are made anew from the weights that they are given.
        own = slice(None, -BUFFERS[name] if name in BUFFERS else None)
        moved = after[f"toy.{name}"] - told[f"toy.{name}"]
        np.testing.assert_allclose(moved[own], (factors * change)[own], rtol=1e-9, atol=1e-14)


def test_a_group_that_nobody_trained_stays_where_it_is() -> None:
    """Catches a division by no samples, and a step size of nothing, where an update did not run
    between two exchanges."""
    train = toy(local(local_steps=1))
    turn = train.turn(0)
    sums = {
        WEIGHT: np.array([0.0 if name == "critic" else 5.0 for name in turn.leaving]),
        SQUARES: np.array([0.0 if name == "critic" else 5.0 for name in train.averaged(turn)]),
    }
    trainer: Any = SimpleNamespace(train=train, sizes=SIZES, count=lambda name: 4)
    assert extrapolation(trainer, turn, sums, {"encoder": np.ones(4)}) == {"encoder": 1.0}


def test_a_change_that_is_too_large_is_said_to_be_as_large_as_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches a masked sum that overflows, and a site that is refused for its length alone."""
    monkeypatch.setattr("motet.training.site_state.LARGEST_SQUARE", 1e-9)
    monkeypatch.setattr("motet.training.exchange.LARGEST_SQUARE", 1e-9)
    train = toy(local(), masked=True)
    trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
    told = {**SHARED, **trainer.told(train.turn(0))}
    sent = train_at_site(train, train.turn(0), sites_of(WHERE)["site 0"], told)  # type: ignore[arg-type]
    samples = [sent[WEIGHT][i] for i, n in enumerate(train.turn(0).leaving) if n != "heads"]
    np.testing.assert_allclose(sent[SQUARES], 1e-9 * np.array(samples), rtol=1e-12)
    size: Any = SimpleNamespace(rows=12.0)
    bound = exchange(train, train.turn(0)).bounds(size, SHARED)[SQUARES]
    assert sent[SQUARES].max() <= bound < 1e-9 * 1000


def test_what_leaves_is_declared_where_it_does() -> None:
    """Catches a number that no plan speaks of, and one of exact mode, which has no mean of
    changes."""
    assert "mean square" in {s.name: s.meaning for s in toy(local()).releases}[SQUARES]
    assert SQUARES not in {s.name for s in toy(local(extrapolate=False)).releases}
    warm = toy(local(warm_up=2))
    assert SQUARES not in {spec.name for spec in warm.arrays(warm.turn(0))}

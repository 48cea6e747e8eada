"""What is gathered and drawn ahead is what a step alone would have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_loops import as_on_a_gpu

from motet.training.draws import Draws, DrawsAhead, sample_keys
from motet.training.feed import Due, Feed
from motet.training.samples import Samples

N, P = 30, 5


def keys(count: int) -> np.ndarray:
    return sample_keys(0, [f"sub-{i}" for i in range(count)], np.zeros(count, dtype=np.intp))


def feed(*, at_once: int = 4096, held: int = 2**28) -> Feed:
    rng = np.random.default_rng(0)
    samples = Samples(
        arrays={"x": rng.standard_normal((N, P)), "label": rng.integers(0, 3, N)},
        constants={"used": np.ones(P)},
        people=np.array([f"sub-{i}" for i in range(N)]),
        batch=np.zeros(N, dtype=np.intp),
    )
    small = type("Small", (Feed,), {"HELD": held})
    made: Feed = small(
        samples, keys(N), dtype=torch.float32, device=torch.device("cpu"), at_once=at_once
    )
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.sampled_from([50, 200, 2**16]))
@settings(max_examples=40)
def test_draws_of_several_steps_have_each_steps_bits(
    dtype: torch.dtype, counts: list[int], most: int
) -> None:
    """Catches a salt of another step, a numerical function that sees its neighbours, and steps that
    are counted from another than those that are drawn together begin with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DrawsAhead, "MOST", {"cpu": most})
        _same_bits(dtype, counts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8))
@settings(max_examples=15)
def test_the_same_as_a_gpu_draws(dtype: torch.dtype, counts: list[int]) -> None:
    """Catches salts of samples that torch's kernels take for those of others."""
    with as_on_a_gpu():
        _same_bits(dtype, counts)


def _same_bits(dtype: torch.dtype, counts: list[int]) -> None:
    of_all = torch.from_numpy(keys(sum(counts)))
    steps = [7 * k + 3 for k in range(len(counts))]
    together = DrawsAhead(of_all, steps, counts, dtype).of_steps()
    for ahead, part, step in zip(together, of_all.split(counts), steps, strict=True):
        alone = Draws(part, step, dtype)
        assert len(ahead) == len(alone)
        assert ahead.step == step
        for name, shape in (("uniform", (3,)), ("normal", (2, 5)), ("gumbel", (4,))):
            found = getattr(ahead, name)(name, *shape)
            assert torch.equal(found, getattr(alone, name)(name, *shape))
        assert torch.equal(ahead.integers("i", 9), alone.integers("i", 9))


def test_no_more_is_drawn_together_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches images' noise of thirty steps in memory at once, and small steps drawn one by one."""
    monkeypatch.setattr(DrawsAhead, "MOST", {"cpu": 30})
    made: list[int] = []
    uniform = Draws._uniform64

    def counted(self: Draws, purpose: str, count: int) -> torch.Tensor:
        made.append(len(self) * count)
        return uniform(self, purpose, count)

    monkeypatch.setattr(Draws, "_uniform64", counted)
    steps = DrawsAhead(torch.from_numpy(keys(15)), range(5), [3] * 5, torch.float64).of_steps()
    for draws in steps:
        draws.uniform("u", 4)
    assert made == [24, 24, 12], "three people, four numbers: two steps together, one is left"
    made.clear()
    for draws in steps:
        draws.integers("i", 1000)
    assert made == [15]


def test_draws_that_are_too_many_are_made_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a step that is refused, or cut, because it is large."""
    monkeypatch.setattr(DrawsAhead, "MOST", {"cpu": 20})
    of_all = torch.from_numpy(keys(6))
    ahead = DrawsAhead(of_all, [0, 1], [4, 2], torch.float64)
    first, second = ahead.of_steps()
    assert torch.equal(second.normal("n", 4), Draws(of_all[4:], 1, torch.float64).normal("n", 4))
    assert len(first.normal("n", 2)) == 4
    assert [key[2] for key in ahead._found] == [(2,)]


@pytest.mark.parametrize("held", [2**28, 0])
@pytest.mark.parametrize("at_once", [4096, 3])
def test_steps_that_are_gathered_together_are_the_steps(at_once: int, held: int) -> None:
    """Catches a row of another step, and a step that is lost or comes out of its turn."""
    here = feed(at_once=at_once, held=held)
    rng = np.random.default_rng(1)
    rows = {step: rng.integers(0, N, size=step % 5).astype(np.intp) for step in range(4, 80)}
    found = list(here.ahead(rows))
    assert [due.step for due in found] == list(rows)
    for due in found:
        _same(due, here.due(rows[due.step], due.step))
        _same(due, due)  # updates of a step ask one after another


def _same(a: Due, b: Due) -> None:
    assert a.samples == b.samples
    ones, others = list(a.portions()), list(b.portions())
    assert len(ones) == len(others)
    assert sum(map(len, ones)) == a.samples
    for one, other in zip(ones, others, strict=True):
        assert set(one.seen) == set(other.seen) == {"x", "label", "used"}
        for name, tensor in one.seen.items():
            assert tensor.dtype == other.seen[name].dtype
            assert torch.equal(tensor, other.seen[name])
        assert torch.equal(one.draws.normal("n", 2), other.draws.normal("n", 2))


def test_what_is_gathered_together_is_no_larger_than_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches thirty steps of images in memory at once."""
    here = feed()
    monkeypatch.setattr(Feed, "AHEAD", {"cpu": 4 * 6 * 4})  # bytes of four samples of 6 numbers
    seen: list[int] = []
    batch = here.batch
    monkeypatch.setattr(
        here, "batch", lambda rows, draws: seen.append(len(rows)) or batch(rows, draws)
    )
    rows = {step: np.arange(2, dtype=np.intp) for step in range(6)}
    for due in here.ahead(rows):
        list(due.portions())
    assert seen == [4, 4, 4]

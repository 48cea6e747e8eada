"""Draws and orders are functions of seed, person, part and step: no split changes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from motet.training.draws import Draws, _mixed, _salt, sample_keys
from motet.training.exchange import as_bfloat16, as_float
from motet.training.order import Order
from motet.training.samples import Samples

MASK = (1 << 64) - 1


def splitmix(x: int) -> int:
    """The finalizer in Python's whole numbers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def keys(count: int, seed: int = 0) -> np.ndarray:
    return sample_keys(seed, [f"sub-{i}" for i in range(count)], np.zeros(count, dtype=np.intp))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_the_finalizer_is_splitmix64(values: list[int]) -> None:
    """Catches an arithmetic shift, and a constant with a wrong digit. Of 1234567 with the golden
    gamma once, Vigna's splitmix64.c gives 6457827717110365317 first."""
    found = _mixed(torch.tensor(values, dtype=torch.int64)).tolist()
    assert [x & MASK for x in found] == [splitmix(v & MASK) for v in values]
    assert splitmix((1234567 + 0x9E3779B97F4A7C15) & MASK) == 6457827717110365317


def test_draws_have_their_distributions_and_do_not_hang_together() -> None:
    drawn = Draws(torch.from_numpy(keys(500)), 3, torch.float64)
    for found, cdf in (
        (drawn.uniform("u", 40), stats.uniform.cdf),
        (drawn.normal("n", 40), stats.norm.cdf),
        (drawn.gumbel("g", 40), stats.gumbel_r.cdf),
    ):
        assert stats.kstest(found.numpy().reshape(-1), cdf).pvalue > 0.01
    normal = drawn.normal("n", 40).numpy()
    assert np.abs(np.corrcoef(normal.T) - np.eye(40)).max() < 0.2
    whole = drawn.integers("i", 7).numpy()
    assert (np.bincount(whole, minlength=7) > 40).all()
    other = drawn.normal("another purpose", 40).numpy()
    later = Draws(torch.from_numpy(keys(500)), 4, torch.float64).normal("n", 40).numpy()
    for one in (other, later):
        assert abs(np.corrcoef(normal.reshape(-1), one.reshape(-1))[0, 1]) < 0.03


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20),
    st.integers(1, 9),
    st.integers(0, 1000),
)
def test_a_cpu_draws_what_a_gpu_draws(values: list[int], count: int, step: int) -> None:
    """Catches a bit that NumPy's way through the bits of floating-point numbers rounds away."""
    drawn = Draws(torch.tensor(values, dtype=torch.int64), step, torch.float64)
    assert torch.equal(drawn._uniform64("u", count), drawn._by_torch("u", count))


@given(st.permutations(range(12)), st.integers(1, 12), st.integers(0, 1000))
def test_who_else_is_drawn_for_changes_nothing(order: list[int], count: int, step: int) -> None:
    """Catches a generator with a state, which a microbatch or another site would move."""
    all_keys = keys(12)
    everybody = Draws(torch.from_numpy(all_keys), step, torch.float32).normal("latent", 3)
    some = np.array(order[:count])
    found = Draws(torch.from_numpy(all_keys[some]), step, torch.float32).normal("latent", 3)
    assert torch.equal(found, everybody[torch.from_numpy(some)])


def test_a_draw_depends_on_seed_person_part_purpose_and_step_alone() -> None:
    base = sample_keys(1, ["sub-a"], [0])
    others = [sample_keys(2, ["sub-a"], [0]), sample_keys(1, ["sub-b"], [0])]
    others.append(sample_keys(1, ["sub-a"], [1]))
    assert all(base[0] != other[0] for other in others)
    assert _salt("a", 1) not in (_salt("b", 1), _salt("a", 2))
    assert base[0] == sample_keys(1, ["sub-a"], [0])[0]


@settings(max_examples=40)
@given(st.integers(1, 60), st.floats(1, 20), st.integers(0, 5))
def test_everybody_is_seen_once_in_every_epoch(count: int, per_epoch: float, epoch: int) -> None:
    """Catches people at the edge of a pass who come twice or never."""
    order = Order.alike(keys(count), per_epoch=per_epoch)
    first, last = epoch * per_epoch, (epoch + 1) * per_epoch
    seen = [order.due(step) for step in range(int(first), int(last) + 1)]
    times = np.zeros(count, dtype=int)
    for rows in seen:
        np.add.at(times, rows, 1)
    if per_epoch == int(per_epoch):
        times -= np.bincount(order.due(int(last)), minlength=count)
        assert (times == 1).all()
    else:
        assert (times >= 1).all()


@given(st.lists(st.integers(0, 2), min_size=10, max_size=30), st.integers(0, 40))
def test_a_step_is_the_union_of_the_sites_steps(where: list[int], step: int) -> None:
    """Catches an order by rank within a site, which a split of people would change."""
    all_keys, at = keys(len(where)), np.array(where)
    whole = Order.alike(all_keys, per_epoch=5.0).due(step)
    parts = []
    for site in range(3):
        rows = np.flatnonzero(at == site)
        parts += rows[Order.alike(all_keys[rows], per_epoch=5.0).due(step)].tolist()
    assert sorted(parts) == sorted(whole.tolist())


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 20), st.integers(0, 60))
def test_scanners_take_turns_where_that_is_asked(counts: list[int], size: int, first: int) -> None:
    """Catches steps that are smaller or larger than asked for, scanners of many people that come
    oftener, and exchanges behind which a site happens to have few samples."""
    batch = np.repeat(np.arange(len(counts)), counts)
    order = Order.in_turn(keys(len(batch)), batch, size=size, batches=len(counts), seed=1)
    steps = [order.due(step) for step in range(first, first + 10)]
    assert {len(rows) for rows in steps} == {size}
    shares = np.bincount(batch[np.concatenate(steps)], minlength=len(counts))
    assert np.ptp(shares) <= (0 if 10 * size % len(counts) == 0 == first % 10 else 2)


def test_turns_do_not_fall_into_step_with_updates() -> None:
    """Catches an update of every second step that would see two of four scanners for ever."""
    order = Order.in_turn(keys(400), np.repeat(np.arange(4), 100), size=2, batches=4, seed=1)
    rows = np.concatenate([order.due(step) for step in range(0, 200, 2)])
    assert np.bincount(rows // 100, minlength=4).min() > 30
    nobody = np.zeros(0, dtype=np.intp)
    assert not len(Order.in_turn(keys(0), nobody, size=2, batches=4, seed=1).due(3))


def test_in_turn_everybody_of_a_scanner_comes_once_before_anybody_comes_again() -> None:
    """Catches places that leave somebody out, and one order for all passes."""
    batch = np.repeat([0, 1, 2], (60, 12, 3))
    order = Order.in_turn(keys(75), batch, size=6, batches=3, seed=1)
    rows = np.concatenate([order.due(step) for step in range(60)])
    for scanner, n in enumerate((60, 12, 3)):
        passes = rows[batch[rows] == scanner].reshape(-1, n)
        assert (np.sort(passes, axis=1) == np.flatnonzero(batch == scanner)).all()
        assert len(passes) == 120 / n
        assert len(np.unique(passes, axis=0)) > 1


@given(st.lists(st.integers(0, 2), min_size=5, max_size=5), st.integers(0, 40))
def test_a_step_in_turn_is_the_union_of_the_sites_steps(where: list[int], step: int) -> None:
    """Catches turns that a site could not know without the others' people."""
    batch = np.repeat(np.arange(5), (3, 9, 4, 7, 12))
    all_keys, at = keys(len(batch)), np.array(where)[batch]
    parts = []
    for site in range(3):
        rows = np.flatnonzero(at == site)
        own = Order.in_turn(all_keys[rows], batch[rows], size=7, batches=5, seed=1)
        parts += rows[own.due(step)].tolist()
    whole = Order.in_turn(all_keys, batch, size=7, batches=5, seed=1).due(step)
    assert sorted(parts) == sorted(whole.tolist())


def test_who_validates_is_drawn_by_person() -> None:
    """Catches a person whose one slice trains and whose other judges."""
    people = np.repeat([f"sub-{i}" for i in range(200)], 3)
    samples = Samples(arrays={}, people=people, batch=np.zeros(600, dtype=np.intp))
    back = samples.held_back(0.25, seed=1).reshape(200, 3)
    assert (back == back[:, :1]).all()
    assert 0.15 < back.mean() < 0.35
    assert not samples.held_back(0.0, seed=1).any()


@given(
    st.lists(
        st.floats(
            width=32,
            allow_nan=False,
            allow_infinity=False,
            max_value=2.0**126,
            min_value=-(2.0**126),
        )
    )
)
def test_bfloat16_is_torchs(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    want = torch.from_numpy(array).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(as_float(as_bfloat16(array)), want)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_other_numbers_are_left_as_they_are(kind: type) -> None:
    array = np.linspace(0, 1, 5, dtype=kind)
    assert as_float(array) is array

"""What a site sends under noise is what was accounted for; and each seeded bug is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from motet.training import private
from motet.training.people import clipped_sum
from motet.training.privacy import mechanism
from training.private import World, clipped, fake_entropy, flat, person, world

RELEASES = 40


@pytest.fixture(scope="module")
def here() -> World:
    return world({"epsilon": 1e5, "delta": 1e-4, "clip": 1.0}, batch=16)


def check(here: World, patch: pytest.MonkeyPatch) -> None:
    """Sent, less what is to be sent, is normal noise of the size that epsilon is of."""
    how, networks = mechanism(here.train, int(here.shared["people"])), here.networks
    feed, (update,), names = here.feed(networks), here.train.updates, here.turn.leaving
    by_name = {
        name: flat({name: part}, [name])
        for name, part in here.shared.items()
        if name.startswith("cvae.")
    }
    sizes = [len(by_name[f"cvae.{name}"]) for name in update.groups]
    seen, honest = list[Any](), private.drawn

    def watched(count: int, rate: float) -> Any:
        seen.append(honest(count, rate))
        return seen[-1]

    patch.setattr(private, "drawn", watched)
    each = [clipped(person(here, networks, feed, rows), 1.0) for rows in here.people]
    left = []
    for _ in range(RELEASES):
        sent = private.train_in_private(here.train, here.turn, here.site, here.shared)
        total = np.sum([each[k] for k in np.flatnonzero(seen[-1])], axis=0) + np.zeros(sum(sizes))
        parts = dict(zip(update.groups, np.split(total, np.cumsum(sizes)[:-1]), strict=True))
        left.append((flat(sent, names) - flat(parts, names)) / how.noise_multiplier)
    noise = np.concatenate(left)
    assert kstest(noise, "norm").pvalue > 0.001, "another noise than was accounted for"
    assert len(np.unique(noise)) > 0.99 * len(noise), "noise that was seen before"
    asked = [len(one) for one in seen]
    assert set(asked) == {len(here.people)}, "people are not drawn one by one"
    counts = [int(one.sum()) for one in seen]
    p = binomtest(sum(counts), sum(asked), how.rate).pvalue
    assert p > 0.001, "another rate than was accounted for"
    assert len(set(counts)) > 1, "a number of people that is always the same"


def test_what_leaves_is_what_was_accounted_for(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_entropy(monkeypatch)
    check(here, monkeypatch)


def unclipped(*args: Any, clip: float) -> Any:
    return clipped_sum(*args, clip=1e9)


def by_row(networks: Any, update: Any, feed: Any, people: Any, moment: Any, *, clip: float) -> Any:
    rows = [np.array([row]) for one in people for row in one]
    return clipped_sum(networks, update, feed, rows, moment, clip=clip)


def by_group(networks: Any, update: Any, *args: Any, clip: float) -> Any:
    whole = clipped_sum(networks, update, *args, clip=clip)
    return {name: part * (1.0 if name == "encoder" else 0.5) for name, part in whole.items()}


def always_the_same(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(count)


def a_fixed_number(count: int, rate: float) -> np.ndarray:
    return np.random.default_rng().permutation(count) < round(count * rate)


BUGS: dict[str, tuple[str, Any]] = {
    "no noise": ("normal", np.zeros),
    "noise times 0.8": ("normal", lambda n: 0.8 * np.random.default_rng().standard_normal(n)),
    "no clipping": ("clipped_sum", unclipped),
    "clipping by row": ("clipped_sum", by_row),
    "another sum": ("clipped_sum", by_group),
    "the same noise twice": ("normal", always_the_same),
    "everybody": ("drawn", lambda count, rate: np.ones(count, dtype=bool)),
    "a fixed number of people": ("drawn", a_fixed_number),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_seeded_bug_is_found(name: str, here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a check above that would let the bug pass."""
    fake_entropy(monkeypatch)
    monkeypatch.setattr(private, *BUGS[name])
    with pytest.raises(AssertionError):
        check(here, monkeypatch)

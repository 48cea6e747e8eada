"""How many kernels the engine starts: a GPU is bound by that while networks are small.

No GPU is needed to count them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from training_loops import Kernels, Loops, as_on_a_gpu


def kernels(way: Callable[[], None]) -> Counter[str]:
    """How many of each."""
    with as_on_a_gpu(), Kernels() as counted:
        way()
    return counted.of


@pytest.mark.parametrize(
    ("features", "batch"), [(12, 64), (60, 1024)], ids=["small steps", "large steps"]
)
def test_the_engine_starts_fewer_kernels_than_a_plain_loop(features: int, batch: int) -> None:
    """Catches draws and rows that are made step by step, or of a CPU's few steps at once, losses
    that are summed or read in every step, and gradients that are joined. Copies between host and
    device are not seen: on a CPU there are none."""
    steps = 64
    loops = Loops(features=features, people=4 * batch, batch=batch, steps=steps)
    plain, engine = (kernels(way) for way in (loops.plain, loops.engine))
    assert plain.total() > 90 * steps, "nothing was counted"
    assert engine.total() < plain.total() - 3 * steps
    assert engine["_local_scalar_dense"] == 2, "two losses, read once after all steps"
    assert engine["_foreach_add"] == steps, "control variates correct all groups together"
    looks = 2 * -(-steps // 10)  # of two groups
    assert engine["_foreach_add_"] == 2 * looks, "moments are looked at every ten steps"

"""How many kernels the engine starts: a GPU is bound by that while networks are small.

No GPU is needed to count them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from training_loops import Kernels, Loops, as_on_a_gpu


def kernels(way: Callable[[], None], steps: int) -> float:
    """How many a step."""
    with as_on_a_gpu(), Kernels() as counted:
        way()
    return sum(counted.of.values()) / steps


@pytest.mark.parametrize(
    ("features", "batch"), [(12, 64), (60, 1024)], ids=["small steps", "large steps"]
)
def test_the_engine_starts_as_many_kernels_as_a_plain_loop(features: int, batch: int) -> None:
    """Catches draws and rows that are made step by step, losses that are read in every step,
    gradients that are joined, and copies between host and device."""
    steps = 64
    loops = Loops(features=features, people=4 * batch, batch=batch, steps=steps)
    plain, engine = (kernels(way, steps) for way in (loops.plain, loops.engine))
    assert plain > 90, "nothing was counted"
    assert engine < 1.05 * plain, f"{engine:.1f} a step beside {plain:.1f}"

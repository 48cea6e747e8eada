"""Exact mode: gradients of every step are summed over all sites, and the step is taken once.

It equals training in one place, where that means the same samples in the same steps: losses have
one value a sample, so that the mean gradient of a step is the sum over sites divided by their
number. It is what every other way of training is measured against.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet.releases import Arrays
from motet.strategies.rounds import Ask
from motet.strategies.trained import StepSizes, Sums, run
from motet.training.phase import SAMPLES, Train, Turn

if TYPE_CHECKING:
    from motet.training.coordinator import Trainer


def exact(train: Train, ask: Ask, shared: Arrays) -> Arrays:
    """Train in exact mode."""
    return run(train, ask, shared, step)


def step(trainer: Trainer, turn: Turn, sums: Sums) -> StepSizes:
    """One optimizer step along the mean gradient; none where no site had a sample of this step."""
    # A private training does not tell how many were drawn.
    samples = float(sums[SAMPLES][0]) if SAMPLES in sums else trainer.expected
    if samples:
        trainer.step(turn, {name: sums[name] / samples for name in turn.leaving})
    return {}

"""Local mode: sites take steps of their own, and their networks are averaged by samples.

McMahan et al. 2017, algorithm 1 (arXiv:1602.05629), with steps instead of epochs, so that every
site has done its share of the same passes. A batch's own parameters are its site's, or
moved by the sum of what all sites changed them by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from motet.releases import Arrays
from motet.strategies import exact
from motet.strategies.extrapolated import extrapolation
from motet.strategies.rounds import Ask
from motet.strategies.trained import StepSizes, Sums, run
from motet.training.phase import WEIGHT, Train, Turn

if TYPE_CHECKING:
    from motet.training.coordinator import Trainer


def fedavg(train: Train, ask: Ask, shared: Arrays) -> Arrays:
    """Train in local mode."""
    return run(train, ask, shared, average)


def average(trainer: Trainer, turn: Turn, sums: Sums) -> StepSizes:
    """Move the networks by the mean of what they changed by, or further along it."""
    if turn.exact:
        return exact.step(trainer, turn, sums)
    changes = mean_change(trainer.train, turn, sums)
    step_sizes = extrapolation(trainer, turn, sums, changes)
    trainer.move(turn, changes, step_sizes)
    return step_sizes


def mean_change(train: Train, turn: Turn, sums: Sums) -> dict[str, NDArray[Any]]:
    """What groups, and the optimizer's moments of them, changed by, over all sites.

    Of a group nothing where no site had a sample for it since it last left.
    """
    found: dict[str, NDArray[Any]] = {}
    samples = dict(zip(turn.leaving, sums[WEIGHT], strict=True))
    for spec in train.arrays(turn):
        group = spec.name.partition(".")[0]
        if samples.get(group, 0.0) > 0:
            owned = train.group(group).keeper == "owned"
            found[spec.name] = sums[spec.name] if owned else sums[spec.name] / samples[group]
    return found

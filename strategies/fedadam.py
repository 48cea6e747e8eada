"""Local mode with Adam at the coordinator: the mean change of the sites is a step's gradient.

Reddi et al. 2021, algorithm 2 (arXiv:2003.00295), FedAdam.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from motet.releases import Arrays
from motet.strategies import exact
from motet.strategies.fedavg import mean_change
from motet.strategies.rounds import Ask
from motet.strategies.trained import StepSizes, Sums, run
from motet.training.phase import Train, Turn

if TYPE_CHECKING:
    from motet.training.coordinator import Trainer


def fedadam(train: Train, ask: Ask, shared: Arrays) -> Arrays:
    """Train in local mode; the coordinator has an optimizer of its own."""
    return run(train, ask, shared, adapt)


def adapt(trainer: Trainer, turn: Turn, sums: Sums) -> StepSizes:
    """One step of Adam against the mean change; the sites' own moments are averaged."""
    if turn.exact:
        return exact.step(trainer, turn, sums)
    trainer.adapt(turn, mean_change(trainer.train, turn, sums))
    return {}

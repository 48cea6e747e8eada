"""The loop of a training at the coordinator: exchange after exchange, and what is kept of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import TrainingError
from motet.plan import Plan
from motet.releases import Arrays
from motet.strategies.plain_sum import add
from motet.strategies.rounds import Ask
from motet.strategies.secure_sum import secure_total
from motet.training.exchange import as_float, exchange
from motet.training.log import STEP_SIZE
from motet.training.phase import Train, Turn
from motet.training.privacy import mechanism, noise_to_signal

Sums = Mapping[str, NDArray[Any]]
StepSizes = Mapping[str, float]
"""By what the mean change of a group was multiplied, where that is chosen at each exchange."""
Conclude = Callable[[Any, Turn, Sums], StepSizes]
"""``(trainer, turn, sums)``: moves the coordinator's networks by what sites sent."""


def run(train: Train, ask: Ask, shared: Arrays, conclude: Conclude) -> Arrays:
    """Run a training from where it stopped.

    Returns
    -------
    mapping of str to ndarray
        ``<train>.<group>`` of every group that leaves its sites.
    """
    # torch is needed where networks are trained, not where plans are made of sums.
    from motet.training.coordinator import Trainer

    samples = int(shared[train.counted])
    check_counted(train, samples)
    trainer = Trainer(train, sizes=ask.sizes, seed=ask.seed, samples=samples)
    start = trainer.resume(ask.kept) if ask.kept else trainer.begin(shared)
    ask = ask.knowing(shared)
    for turn in trainer.turns(start):
        sums, of_sites = _summed(train, turn, ask, {**shared, **trainer.told(turn)})
        # Before the step: sites judged the networks as they are still here.
        row = trainer.note(turn, sums, of_sites)
        if turn.after > turn.first:
            step_sizes = conclude(trainer, turn, sums)
            if row is not None:
                row |= {f"{STEP_SIZE}{name}": size for name, size in step_sizes.items()}
        ask.keep(turn, trainer.state, row)
    return trainer.model() | of_noise(train, samples, ask.sizes)


def of_noise(train: Train, samples: int, sizes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """``<train>.noise_multiplier`` and what else says how private a model is; empty of others."""
    if train.private is None:
        return {}
    how = mechanism(train, samples)
    said = {
        "noise_multiplier": how.noise_multiplier,
        "rate": how.rate,
        "steps": how.steps,
        "noise_to_signal": noise_to_signal(train, how, samples, sizes),
    }
    return {f"{train.name}.{name}": np.asarray(float(value)) for name, value in said.items()}


def check_trainings(plan: Plan, rows: int) -> None:
    """Refuse what so many people in the fit do not allow, before anything is agreed to.

    Raises
    ------
    TrainingError
    """
    for train in plan.phases:
        if isinstance(train, Train) and train.counted == "people":
            check_counted(train, rows)


def check_counted(train: Train, samples: int) -> None:
    """Refuse what so many samples do not allow: such steps or exchanges, or so large a delta.

    Raises
    ------
    TrainingError
    """
    if train.private is not None:
        mechanism(train, samples)
    trained = train.trained_of(samples)
    if train.options.batch > trained:
        raise TrainingError(
            f"A step of '{train.name}' takes {train.options.batch} samples, and the fit has "
            f"{trained}{' beside those that validate' if train.options.validation else ''}.",
            do=f"Set train: {{batch: {trained}}} or less, or batch: 0 for everybody in every step.",
            key="train.batch",
        )
    how, asked = train.options, train.asked(trained)
    # Of so many steps without epochs the study file alone says it.
    if how.epochs and how.mode == "local" and asked < how.warm_up + how.local_steps:
        raise TrainingError(
            f"An exchange of '{train.name}' takes {how.local_steps:,} steps, and {how.epochs:g} "
            f"epochs of {trained} samples are {asked:,}.",
            do="Set train: {local_steps: …} to fewer, or epochs to more; warm_up counts, too.",
            key="train.local_steps",
        )


def _summed(train: Train, turn: Turn, ask: Ask, told: Arrays) -> tuple[Sums, Mapping[str, Sums]]:
    """What all sites sent in one exchange comes to, and each one's own: nobody's under masks."""
    phase, asked = exchange(train, turn), ask.of(turn)
    if train.masked:
        return secure_total(phase, asked, told), {}
    replies = {site: _wide(arrays) for site, arrays in asked(phase, told).items()}
    return add(replies), replies


def _wide(arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {name: as_float(array) for name, array in arrays.items()}

"""Running the steps of a plan over sites: asks, validates, concludes, writes the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from motet.errors import DesignError
from motet.evaluation.steps import PRIVATE
from motet.phases import Phase, Repeat, Step
from motet.plan import Plan
from motet.releases import Arrays
from motet.secure.circle import Circle
from motet.server.anchors import Anchors
from motet.server.asking import Asking, Opened
from motet.server.checkpoint import Checkpoint, Progress
from motet.server.events import Event, Kind, Observer
from motet.server.exchange import Exchange
from motet.server.pace import Pace
from motet.server.received import Received
from motet.strategies import strategy_for
from motet.strategies.rounds import State
from motet.strategies.trained import check_counted
from motet.training.exchange import path_of, then
from motet.training.log import losses
from motet.training.phase import UNFINISHED, VALIDATION, Train, Turn

EVERY = 2.0
"""Seconds between checkpoints of a training of which sites keep nothing."""


Rows = Sequence[Mapping[str, Any]]


def unwritten(rows: Rows) -> None:
    """Write no log of trainings."""


def unread(phase: Phase, circle: Circle) -> None:
    """Remember nothing of secure sums."""


def _check_finite(additions: Arrays, path: str) -> None:
    """Refuse a conclusion that is not a number: every site would go on with it."""
    for name, array in additions.items():
        if name.startswith(PRIVATE):
            continue
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DesignError(
                f"The phase '{path}' came to values of '{name}' that are not finite.",
                do="Look for features with extreme values.",
            )


class Runner:
    """Runs steps of a plan, skipping what a resumed progress has done already.

    Parameters
    ----------
    exchange : Exchange
    checkpoint : Checkpoint
    plan : Plan
    progress : Progress
        What there is so far; it grows.
    received : Received
    observe : Observer
    anchors : Anchors, optional
    keys : mapping of str to bytes
        Public keys of the sites, where sums are masked.
    opened : callable
        Told of every secure sum before its masks come off.
    log : callable
        Given the lines of all trainings so far, whenever they are in a checkpoint.
    """

    def __init__(
        self,
        *,
        exchange: Exchange,
        checkpoint: Checkpoint,
        plan: Plan,
        progress: Progress,
        received: Received,
        observe: Observer,
        anchors: Anchors | None = None,
        keys: Mapping[str, bytes] | None = None,
        opened: Opened = unread,
        log: Callable[[Rows], None] = unwritten,
    ) -> None:
        self._exchange, self._checkpoint, self._plan = exchange, checkpoint, plan
        self._progress, self._received, self._observe = progress, received, observe
        self._anchors, self._keys, self._opened = anchors, keys or {}, opened
        self._log = log
        self._count = 0
        self._saved = time.monotonic()

    def run(self, steps: Sequence[Step], within: str = "") -> None:
        for step in steps:
            if isinstance(step, Repeat):
                self._repeat(step, within)
            else:
                self._phase(step, within + step.name)

    def _repeat(self, repeat: Repeat, within: str) -> None:
        path = f"{within}{repeat.name}"
        for i in range(repeat.at_most):
            if f"={path}" in self._progress.done:
                return
            turn = f"{path}[{i}]"
            if turn in self._progress.done:
                continue
            self.run(repeat.steps, within=f"{turn}/")
            over = repeat.until is not None and repeat.until(self._progress.shared)
            self._done(f"={path}" if over else turn)

    def _phase(self, phase: Phase, path: str) -> None:
        self._count += 1
        if path in self._progress.done or f"={path}" in self._progress.done:
            return
        sizes = self._plan.sizes(self._progress.shared)
        if phase.when and not sizes[phase.when]:
            return
        self._observe(Event(kind=Kind.PHASE, phase=path, step=self._count))
        own = f"{UNFINISHED}{path}/"
        asking = Asking(
            exchange=self._exchange,
            plan=self._plan,
            path=path,
            sites=tuple(s for s in self._progress.sites if self._plan.takes_part(s, phase)),
            sizes=sizes,
            keys=self._keys,
            received=self._received,
            anchors=self._anchors,
            opened=self._opened,
            kept={
                name.removeprefix(own): array
                for name, array in self._progress.shared.items()
                if name.startswith(own)
            },
            keeping=partial(self._kept, path, Pace()),
        )
        additions = strategy_for(phase, self._plan)(phase, asking, self._progress.shared)
        _check_finite(additions, path)
        self._progress.shared |= additions
        self._check_trainings(additions)
        for name in [name for name in self._progress.shared if name.startswith(own)]:
            del self._progress.shared[name]
        self._done(f"={path}" if isinstance(phase, Train) else path)
        self._observe(Event(kind=Kind.DONE, phase=path, step=self._count))

    def _check_trainings(self, additions: Arrays) -> None:
        """Refuse a training that so many people do not allow before more sums leave for it."""
        for phase in self._plan.phases:
            if isinstance(phase, Train) and phase.counted in additions:
                check_counted(phase, int(additions[phase.counted]))

    def _kept(
        self, path: str, pace: Pace, turn: Turn, state: State, row: Mapping[str, Any] | None
    ) -> None:
        """Write down where a training is. What can be done again is written every few seconds.

        Of a private training sites send the last exchange again and no other.
        """
        progress = self._progress
        pace.take(turn)
        if row is not None:
            progress.log.append(dict(row))
            self._observe(
                Event(
                    kind=Kind.TRAINED,
                    phase=path,
                    step=int(row["step"]),
                    steps=int(row["steps"]),
                    exchange=turn.number,
                    losses={name: row[name] for name in (*losses(row), VALIDATION) if name in row},
                    sites=row.get("sites", {}),
                    left=pace.left(int(row["steps"])),
                )
            )
        phase = self._plan.train_at(path)
        if not phase.stateless:
            progress.done = then(progress.done, path_of(path, turn))
        elif phase.private is None and time.monotonic() < self._saved + EVERY:
            return
        # What is no longer part of the state must not be found by who goes on from it.
        own = f"{UNFINISHED}{path}/"
        progress.shared = {n: a for n, a in progress.shared.items() if not n.startswith(own)}
        progress.shared |= {f"{own}{name}": np.asarray(array) for name, array in state().items()}
        self._saved = time.monotonic()
        progress.received = self._received.to_json()
        self._checkpoint.save(progress)
        self._log(progress.log)

    def _done(self, path: str) -> None:
        self._progress.done.append(path)
        self._progress.received = self._received.to_json()
        self._checkpoint.save(self._progress)

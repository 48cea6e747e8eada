"""One exchange of a training as a sum over sites: what every other sum is subject to, it is too."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from motet.errors import PlanError
from motet.phases import Sum
from motet.releases import Arrays, Leaves
from motet.scale import Bounds, Magnitudes
from motet.site import Site
from motet.training.divergence import check_sent
from motet.training.phase import LOSSES, SQUARES, VALIDATION, WEIGHT, Train, Turn
from motet.training.telling import tell

LARGEST_LOSS = 2.0**20
"""Public bound on the loss of a sample."""
LARGEST_SQUARE = 1.0
"""Public bound on the mean square of what parameters change by between exchanges, by a sample: of
changes that are larger a site says this much, and they are lengthened by less."""
PATH = re.compile(r"(?P<train>.+)@(?P<number>0|[1-9][0-9]*)(?P<closing>!?)")


@dataclass(frozen=True, kw_only=True)
class Exchange(Sum):
    """One exchange: gradients of an update, or what networks changed by.

    Parameters
    ----------
    train : Train
    turn : Turn
    """

    train: Train
    turn: Turn

    @property
    def leaves(self) -> Leaves | None:
        return Leaves.UPDATE


@dataclass(frozen=True)
class _Half:
    """A site's half; torch is imported when it runs."""

    train: Train
    turn: Turn

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Train, and return what leaves."""
        if self.train.private is not None:
            from motet.training.private import train_in_private

            return train_in_private(self.train, self.turn, site, shared)
        from motet.training.at_site import train_at_site

        arrays = train_at_site(self.train, self.turn, site, shared)
        bounds = self.bounds(site.schema.magnitudes, shared) if self.train.masked else {}
        wide = {name: as_float(array) for name, array in arrays.items()}
        check_sent(wide, bounds, self.turn, site.name)
        tell(self.train, self.turn, site.name, arrays, samples=int(shared[self.train.counted]))
        return arrays

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's entries exceed."""
        # Of samples there are no more in a step than a site has rows, or than the step asks for
        # where scanners have equal shares. Slices, of which one site may have all, are more.
        steps = max(1, self.turn.after - self.turn.first)
        counted = self.train.counted
        rows = size.rows if counted == "people" else max(size.rows, float(shared[counted]))
        a_step = rows + self.train.options.batch
        samples = a_step * steps
        specs = self.train.arrays(self.turn)
        # What groups changed by counts by samples since each last left.
        behind = samples if self.turn.exact else a_step * self.train.longest
        largest = self.train.largest * behind
        found = {spec.name: largest for spec in specs if spec.dtype == "float64"}
        if not self.turn.exact:
            # Changes of owned groups are not multiplied by samples.
            owned = {g.name for g in self.train.groups if g.keeper == "owned"}
            own = {name for name in found if name.partition(".")[0] in owned}
            found |= dict.fromkeys(own, self.train.largest)
        known = {
            LOSSES: LARGEST_LOSS * samples,
            VALIDATION: LARGEST_LOSS * samples,
            WEIGHT: behind,
            SQUARES: LARGEST_SQUARE * behind,
        }
        return found | {name: bound for name, bound in known.items() if name in found}


def _as_they_are(sums: Arrays, shared: Arrays) -> Arrays:
    return sums


def exchange(train: Train, turn: Turn) -> Exchange:
    """The exchange after `turn`."""
    half = _Half(train, turn)
    return Exchange(
        name=train.name,
        who=train.who,
        arrays=train.arrays(turn),
        at_site=half.send,
        at_coordinator=_as_they_are,
        bounds=half.bounds,
        train=train,
        turn=turn,
    )


def path_of(path: str, turn: Turn) -> str:
    """``cvae@17``: what an exchange of the phase at `path` is called; ``!``: it only validates."""
    return f"{path}@{turn.number}{'' if turn.after > turn.first else '!'}"


def split_path(name: str) -> tuple[str, int, bool] | None:
    """``cvae@17`` as the phase's name, the number, and whether it closes; None of another phase."""
    match = PATH.fullmatch(name)
    if match is None:
        return None
    return match["train"], int(match["number"]), bool(match["closing"])


def exchange_at(train: Train, number: int, *, closing: bool) -> Exchange:
    """The exchange of this number, within what was consented to.

    Raises
    ------
    PlanError
    """
    most = train.exchanges(train.longest_training)
    if number > most or (number == most and not closing):
        raise PlanError(f"'{train.name}' has no exchange {number}: {most} were consented to.")
    if not closing:
        return exchange(train, train.turn(number))
    if train.validate is None or not train.options.validation:
        raise PlanError(f"'{train.name}' is not validated.")
    step = train.turn(number).first if number < most else train.longest_training
    return exchange(train, Turn(number=number, first=step, after=step, validates=True))


def then(done: list[str], path: str) -> list[str]:
    """`done` with a path more; of a training's exchanges the last stands for all."""
    found = split_path(path)
    if found is None or not done:
        return [*done, path]
    last = split_path(done[-1])
    return [*done[:-1], path] if last and last[0] == found[0] else [*done, path]


def next_number(done: list[str], path: str) -> int | None:
    """The exchange that comes next of the training of `path`, after `done`; None: it is over."""
    found = split_path(path)
    assert found is not None
    exchanges = [(i, one) for i, name in enumerate(done) if (one := split_path(name)) is not None]
    own = [(i, number) for i, (train, number, _) in exchanges if train == found[0]]
    if not own:
        return 0
    ((at, number),) = own
    return number + 1 if at == len(done) - 1 else None


def before(done: list[str]) -> tuple[list[str], ...]:
    """What `done` can have been one path earlier."""
    found = split_path(done[-1]) if done else None
    if found is None or (found[1] == 0):
        return (done[:-1],)
    train, number, _ = found
    return ([*done[:-1], f"{train}@{number - 1}"],)


def mean_square(changes: np.ndarray) -> float:
    """The mean square of what parameters changed by; 0 of none."""
    return float(np.mean(np.square(changes, dtype=np.float64))) if changes.size else 0.0


def as_float(array: np.ndarray) -> np.ndarray:
    """Numbers that left as bfloat16, the upper half of a float32, as float32; others as are."""
    if array.dtype != np.uint16:
        return array
    return (array.astype(np.uint32) << 16).view(np.float32)


def as_bfloat16(array: np.ndarray) -> np.ndarray:
    """float32 rounded to the nearest bfloat16, as its 16 bits."""
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    even = ((bits >> 16) & 1) + np.uint32(0x7FFF)
    # To round the bits of a NaN can make a number of them: CUDA's have all of them set.
    found = np.where(np.isnan(array), np.uint32(0x7FC0), (bits + even) >> 16)
    return found.astype(np.uint16)

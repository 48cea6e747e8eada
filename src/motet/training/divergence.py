"""A site whose training diverged: nothing of that step leaves, and the person is told why."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from motet.errors import TrainingError
from motet.releases import LARGEST, Arrays
from motet.training.vocabulary import LOSSES, Turn


def diverged(
    what: str, turn: Turn, site: str, *, why: str = "is no longer a finite number"
) -> TrainingError:
    """The error of a site whose numbers are none, or larger than any that can be sent."""
    return TrainingError(
        f"{what} {why} (steps {turn.first} to {turn.after}). Nothing of this step was sent.",
        do="A smaller learning rate, or fewer local_steps; or look for people with extreme values.",
        site=site,
    )


def check_sent(arrays: Arrays, bounds: Mapping[str, float], turn: Turn, site: str) -> None:
    """Refuse to send what the last step made of networks whose losses before it were finite.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        What would leave, as wide as it is computed with.
    bounds : mapping of str to float
        Public bounds on entries, where sums are masked.

    Raises
    ------
    TrainingError
    """
    for name, array in arrays.items():
        what = "A loss" if name == LOSSES else f"What leaves of '{name}'"
        largest = float(np.abs(array).max(initial=0))  # NaN where there is one
        if largest <= bounds.get(name, LARGEST):
            continue
        if math.isfinite(largest):
            raise diverged(what, turn, site, why="is larger than anything that can be summed")
        raise diverged(what, turn, site)

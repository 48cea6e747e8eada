"""Where a training is: what schedules depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One step of a training.

    Attributes
    ----------
    step : int
        From 0, over all sites: schedules never see a site's own count.
    steps : int
        Steps of the whole training.
    per_epoch : float
        Steps in which everybody is seen once.
    """

    step: int
    steps: int
    per_epoch: float

    def at(self, step: int) -> Moment:
        """Another step of the same training."""
        return Moment(step=step, steps=self.steps, per_epoch=self.per_epoch)

    @property
    def epoch(self) -> float:
        """Passes over the people before this step."""
        return self.step / self.per_epoch

    @property
    def done(self) -> float:
        """Share of the training before this step, 0 to 1."""
        return self.step / self.steps


def falling(moment: Moment) -> float:
    """A learning rate that falls to a hundredth, as a cosine."""
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * moment.done))

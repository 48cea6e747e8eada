"""MICA's options."""

from __future__ import annotations

import re

from pydantic import Field, model_validator

from motet.images.params import ImageParams

KEY = re.compile(r"[A-Za-z0-9_-]+")


class MicaParams(ImageParams):
    """Options of MICA.

    Parameters
    ----------
    to : str, optional
        The batch that everybody is brought to (``site``, ``site/batch``, or a batch name that is
        unique). Its site publishes the quantile functions of the travelers; without it, the mean
        distribution of everybody is the target, and no traveler is needed.
    travelers : tuple of str
        Public keys of people who were scanned at ``to`` and at every other site, as in each
        site's travelers.tsv. Each has to have consented. They are never held out.
    points : int
        Of the grid of probabilities.
    """

    to: str | None = None
    travelers: tuple[str, ...] = ()
    points: int = Field(default=1000, ge=11, le=10_000)

    @property
    def needed(self) -> tuple[str, ...]:
        """The travelers: what is learned of a scanner is learned of them."""
        return self.travelers

    @model_validator(mode="after")
    def _together(self) -> MicaParams:
        if (self.to is None) != (not self.travelers):
            raise ValueError(
                "'to' and 'travelers' go together: a target site, and who was scanned there"
            )
        if len(set(self.travelers)) < len(self.travelers):
            raise ValueError("a traveler is named twice")
        if wrong := [key for key in self.travelers if not KEY.fullmatch(key)]:
            raise ValueError(f"'{wrong[0]}' cannot be a traveler's key: letters, digits, '-', '_'")
        return self

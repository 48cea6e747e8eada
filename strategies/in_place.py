"""Sites that are at hand: a strategy asks their objects, and nothing travels.

What a method comes to over one site alone, or over everybody in one place, is run so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from motet.errors import PlanError
from motet.phases import Phase, Publish, Sum
from motet.releases import Arrays
from motet.scale import Bounds
from motet.secure.circle import Circle
from motet.secure.held import Held
from motet.secure.party import Masked, Revealed
from motet.site import Site
from motet.strategies.rounds import State
from motet.training.phase import Turn


def unlogged(row: Mapping[str, Any]) -> None:
    """Keep no log of a training."""


@dataclass(frozen=True, kw_only=True)
class InPlace:
    """Sites of one process (:class:`motet.strategies.rounds.Ask`).

    Parameters
    ----------
    sites : mapping of str to Site
    sizes : mapping of str to int
    seed : int
    log : callable
        Told of every line of a training's log.
    """

    sites: Mapping[str, Site]
    sizes: Mapping[str, int]
    seed: int = 0
    log: Callable[[Mapping[str, Any]], None] = unlogged
    kept: Arrays = field(default_factory=dict)

    def __call__(self, phase: Phase, shared: Arrays, /) -> Mapping[str, Arrays]:
        """Every site's arrays."""
        assert isinstance(phase, Sum | Publish)
        chosen = sorted(name for name in self.sites if phase.who.site in ("", name))
        return {name: phase.at_site(self.sites[name], shared) for name in chosen}

    def knowing(self, shared: Arrays, /) -> InPlace:
        """The same sites: nothing is sent to them."""
        return self

    def of(self, turn: Turn, /) -> InPlace:
        """The same sites: nothing is written down of an exchange."""
        return replace(self)

    def keep(self, turn: Turn, state: State, row: Mapping[str, Any] | None, /) -> None:
        """Pass a line of the log on; what is in one process is not resumed."""
        if row is not None:
            self.log(row)

    def bounds(self, phase: Phase, shared: Arrays, /) -> Bounds:
        """Nothing is masked here."""
        return {}

    def masked(self, phase: Phase, shared: Arrays, /) -> tuple[Circle, Mapping[str, Masked]]:
        """Nothing is masked here."""
        raise PlanError(f"'{phase.name}' is masked: its sites are asked over a federation.")

    def revealed(self, circle: Circle, masked: Mapping[str, Masked], /) -> Mapping[str, Revealed]:
        """Nothing is masked here."""
        raise PlanError("Nothing is masked in one process.")

    def held(self, phase: Phase, shared: Arrays, /) -> Mapping[str, Held]:
        """Nobody holds a key here."""
        raise PlanError(
            f"'{phase.name}' is read by holders: its sites are asked over a federation."
        )

    def hand(self, phase: Phase, shared: Arrays, held: Mapping[str, Held], /) -> None:
        """Nobody holds a key here."""
        raise PlanError("Nobody holds a key in one process.")

    def sealed(self, phase: Phase, shared: Arrays, /) -> Mapping[str, tuple[Arrays, bytes]]:
        """Nothing is sealed here."""
        raise PlanError(f"'{phase.name}' is sealed: its sites are asked over a federation.")

    def deliver(
        self, phase: Phase, shared: Arrays, sealed: Mapping[str, tuple[Arrays, bytes]], /
    ) -> None:
        """Nothing is sealed here."""
        raise PlanError("Nothing is sealed in one process.")

"""What a strategy is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from motet.phases import Phase
from motet.releases import Arrays
from motet.scale import Bounds
from motet.secure.circle import Circle
from motet.secure.held import Held
from motet.secure.party import Masked, Revealed
from motet.training.phase import Turn

State = Callable[[], Arrays]
"""Puts together all that a training goes on from."""


class Ask(Protocol):
    """The sites of a phase, as a strategy reaches them. Every reply has passed the validator."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """The public sizes that shapes name."""
        ...

    @property
    def seed(self) -> int:
        """The study's seed."""
        ...

    @property
    def kept(self) -> Arrays:
        """What a training that was interrupted goes on from; empty where none was."""
        ...

    def knowing(self, shared: Arrays, /) -> Ask:
        """The same sites, asked for a training: `shared` does not change, and is told once."""
        ...

    def of(self, turn: Turn, /) -> Ask:
        """The same sites, asked for one exchange of a training."""
        ...

    def keep(self, turn: Turn, state: State, row: Mapping[str, Any] | None, /) -> None:
        """Write down where a training is after an exchange, and a line of its log.

        The state of large networks takes as long as a step to put together: it is asked for where
        it is written down.
        """
        ...

    def bounds(self, phase: Phase, shared: Arrays, /) -> Bounds:
        """How large sums can be, where they are masked."""
        ...

    def __call__(self, phase: Phase, shared: Arrays, /) -> Mapping[str, Arrays]:
        """One round: site -> its arrays."""
        ...

    def masked(self, phase: Phase, shared: Arrays, /) -> tuple[Circle, Mapping[str, Masked]]:
        """One round: site -> its arrays behind masks; arrays in the order of their names."""
        ...

    def revealed(self, circle: Circle, masked: Mapping[str, Masked], /) -> Mapping[str, Revealed]:
        """One round: site -> shares of the masks of these arrays; of some that is enough."""
        ...

    def held(self, phase: Phase, shared: Arrays, /) -> Mapping[str, Held]:
        """One round: key -> what its holders sent behind masks."""
        ...

    def hand(self, phase: Phase, shared: Arrays, held: Mapping[str, Held], /) -> None:
        """One round: every holder gets the sums of its keys, and concludes from them."""
        ...

    def sealed(self, phase: Phase, shared: Arrays, /) -> Mapping[str, tuple[Arrays, bytes]]:
        """One round: site -> what it sealed for the recipient, and its salt."""
        ...

    def deliver(
        self, phase: Phase, shared: Arrays, sealed: Mapping[str, tuple[Arrays, bytes]], /
    ) -> None:
        """One round: the recipient gets what is sealed for it, and keeps what it opens."""
        ...


Strategy = Callable[[Any, Ask, Arrays], Arrays]
"""``(phase, ask, shared) -> additions`` to the shared model."""

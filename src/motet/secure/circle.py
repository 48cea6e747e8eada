"""Who takes part in one secure sum, and which: the same words at every site."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from motet.errors import SecureSumError
from motet.schema import Schema
from motet.store import canonical_json


def what_is_summed(
    *, run: str, plan: str, path: str, shared: str, schema: Schema, key: str = ""
) -> dict[str, object]:
    """What no two sums have in common; what sites do not agree on comes out as noise.

    Parameters
    ----------
    run, plan, path : str
    shared : str
        Hash of the shared model that the sites were given.
    schema : Schema
        Its scale says how numbers become integers.
    key : str
        Of which there is one sum each.
    """
    scale = None if schema.scale is None else schema.scale.to_json()
    what = {"run": run, "plan": plan, "phase": path, "shared": shared, "scale": scale}
    return {**what, **({"key": key} if key else {})}


FEWEST = 3
"""Of two sites each could subtract itself from the sum and read the other."""


def threshold(members: int) -> int:
    """How many sites have to answer before masks come off: more than two thirds.

    With half of them a coordinator that tells one half that a site dropped out, and the other
    that it did not, would get both of that site's masks. With t of n it also needs c sites to help
    it, where ``2 t <= n + c`` (Bonawitz 2017, section 6): for n = 4 and t = 3, two. Against a
    coordinator that tells everybody the same, t - 1 sites that help it learn nothing.
    """
    return max(FEWEST, 2 * members // 3 + 1)


def about(kind: str, what: Mapping[str, object], keys: Mapping[str, bytes]) -> bytes:
    """What the secrets of a sum are bound to: which sum, and who takes part with which key."""
    named = {name: keys[name].hex() for name in sorted(keys)}
    return hashlib.sha256(canonical_json({kind: dict(what), "keys": named}).encode()).digest()


@dataclass(frozen=True)
class Circle:
    """One secure sum.

    Parameters
    ----------
    what : mapping
        Plain data that no two sums have in common: run, plan, phase, round, the shared model.
    keys : mapping of str to bytes
        Public key of every member.
    everybody : bool
        Whether all of them have to answer before masks come off.

    Raises
    ------
    SecureSumError
        When there are fewer than three members.
    """

    what: Mapping[str, object]
    keys: Mapping[str, bytes]
    everybody: bool = False

    def __post_init__(self) -> None:
        if len(self.keys) < FEWEST:
            raise SecureSumError(
                f"A secure sum needs {FEWEST} sites; {len(self.keys)} take part.",
                do="Wait for a third site, or let the sites' policies allow plain sums.",
            )

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Sorted: every site numbers the others alike."""
        return tuple(sorted(self.keys))

    @cached_property
    def about(self) -> bytes:
        """What all secrets of this sum are bound to, 32 bytes."""
        return about("sum", self.what, self.keys)

    @property
    def threshold(self) -> int:
        """How many have to answer."""
        return len(self.keys) if self.everybody else threshold(len(self.keys))

    def point(self, member: str) -> int:
        """Where a member's shares are taken, from 1."""
        return self.members.index(member) + 1

    def sign(self, one: str, other: str) -> int:
        """Of the mask of two members at the first: they cancel."""
        return 1 if one < other else -1

    def dropped(self, survivors: Collection[str]) -> tuple[str, ...]:
        """The members whose arrays did not arrive.

        Raises
        ------
        SecureSumError
            When those left are strangers, or too few.
        """
        if strangers := set(survivors) - set(self.members):
            raise SecureSumError(f"{sorted(strangers)[0]} takes no part in this sum.")
        if len(set(survivors)) < self.threshold:
            raise SecureSumError(
                f"{len(set(survivors))} of {len(self.members)} sites are left; "
                f"{self.threshold} are needed to take masks off."
            )
        return tuple(name for name in self.members if name not in survivors)

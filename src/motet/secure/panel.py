"""Sums that only those who hold a key read: the coordinator adds, and cannot read the sum either.

Those who scanned a traveler already know this person's anatomy; the coordinator does not. Every
holder adds masks in common with each other holder, which cancel in the sum, so that nobody's own
part can be read. The first holder adds one more, the panel's, which stays in the sum: it seals its
seed for the other holders, and they alone take it off. All holders are needed: a sum over a part
of them is another consensus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from numpy.typing import NDArray

from motet.errors import SecureSumError
from motet.secure.circle import about
from motet.secure.keys import SumKey
from motet.secure.masks import add
from motet.secure.party import NONCE


@dataclass(frozen=True)
class Panel:
    """The holders of one key, and which sum.

    Parameters
    ----------
    what : mapping
        Plain data that no two sums have in common.
    keys : mapping of str to bytes
        Public key of every holder.
    """

    what: Mapping[str, object]
    keys: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if len(self.keys) < 2:
            raise SecureSumError("A sum that its holders read needs two of them.")

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Sorted; the first one makes the panel's mask."""
        return tuple(sorted(self.keys))

    @cached_property
    def about(self) -> bytes:
        """What all secrets of this sum are bound to, 32 bytes."""
        return about("panel", self.what, self.keys)


@dataclass(frozen=True)
class Holder:
    """One of a panel.

    Parameters
    ----------
    name : str
    key : SumKey
    panel : Panel
    """

    name: str
    key: SumKey
    panel: Panel

    def __post_init__(self) -> None:
        if self.panel.keys.get(self.name) != self.key.public:
            raise SecureSumError("Another key stands for this site.", site=self.name)

    @property
    def leads(self) -> bool:
        """Whether this site makes the panel's mask."""
        return self.panel.members[0] == self.name

    def mask(self, arrays: Sequence[NDArray[Any]]) -> dict[str, bytes]:
        """Hide arrays, which are changed in place; what the first holder seals for the others.

        The masks depend on the panel alone: the caller sees to it that different arrays never go
        out in one panel.

        Parameters
        ----------
        arrays : sequence of (m,) uint16, uint32 or uint64
            In the ring.
        """
        for other in self.panel.members:
            if other != self.name:
                seed = self.key.shared(self.panel.keys[other], "holders' mask", self.panel.about)
                add(arrays, seed, sign=1 if self.name < other else -1)
        if not self.leads:
            return {}
        seed = self._own_seed()
        add(arrays, seed, sign=1)
        return {
            other: ChaCha20Poly1305(self._seal(other, other)).encrypt(NONCE, seed, None)
            for other in self.panel.members
            if other != self.name
        }

    def read(self, totals: Sequence[NDArray[Any]], sealed: bytes) -> None:
        """Take the panel's mask off the sum, in place.

        Parameters
        ----------
        totals : sequence of (m,) uint16, uint32 or uint64
        sealed : bytes
            What the first holder sealed for this one; nothing where this is the first.

        Raises
        ------
        SecureSumError
        """
        if self.leads:
            seed = self._own_seed()
        else:
            try:
                seal = ChaCha20Poly1305(self._seal(self.panel.members[0], self.name))
                seed = seal.decrypt(NONCE, sealed, None)
            except InvalidTag as error:
                raise SecureSumError(
                    f"What '{self.panel.members[0]}' sealed for this site was changed on its way, "
                    "or is of another sum.",
                    site=self.name,
                ) from error
        add(totals, seed, sign=-1)

    def _own_seed(self) -> bytes:
        return self.key.own("panel's mask", self.panel.about)

    def _seal(self, other: str, recipient: str) -> bytes:
        """The key of what the first holder seals for a recipient."""
        purpose, whom = "panel's seal", recipient.encode()
        return self.key.shared(self.panel.keys[other], purpose, self.panel.about, whom)

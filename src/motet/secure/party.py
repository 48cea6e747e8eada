"""A site's side of a secure sum. It keeps nothing: whatever it needs again, it derives again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from numpy.typing import NDArray

from motet.errors import SecureSumError
from motet.secure import shamir
from motet.secure.circle import Circle
from motet.secure.keys import SumKey, commitment, tag
from motet.secure.masks import add

SALT = 16
WORD = 1
"""Bytes."""
NONCE = bytes(12)
"""Each key seals one message."""


@dataclass(frozen=True, kw_only=True)
class Masked:
    """What a site sends.

    Attributes
    ----------
    arrays : tuple of (m,) uint32 or uint64
        Uniform to everybody.
    salt : bytes
        Tells inputs of one sum apart, if there should be two; says nothing of either.
    sealed : mapping of str to bytes
        For every member shares of this site's masks, which the coordinator relays.
    committed : mapping of str to bytes
        Member -> SHA-256 of the seed that this site has in common with it; of its own for itself.
    """

    arrays: tuple[NDArray[Any], ...]
    salt: bytes
    sealed: Mapping[str, bytes]
    committed: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Revealed:
    """What a survivor says so that masks can come off.

    Attributes
    ----------
    own : mapping of str to bytes
        Survivor -> a share of the mask of its own.
    pairs : mapping of (str, str) to bytes
        (Survivor, dropped) -> a share of the mask that the two have in common.
    """

    own: Mapping[str, bytes]
    pairs: Mapping[tuple[str, str], bytes]


@dataclass(frozen=True)
class Party:
    """A member of a circle.

    Parameters
    ----------
    name : str
    key : SumKey
    circle : Circle
        With this site's own public key among the members'.
    """

    name: str
    key: SumKey
    circle: Circle

    def __post_init__(self) -> None:
        if self.circle.keys.get(self.name) != self.key.public:
            raise SecureSumError(
                "The coordinator gives this site another key than its own.",
                do="Compare the fingerprints of 'motet site peers' with the other sites.",
                site=self.name,
            )

    def mask(self, arrays: Sequence[NDArray[Any]], *, word: bytes = b"\x00") -> Masked:
        """Hide arrays, which are changed in place.

        Parameters
        ----------
        arrays : sequence of (m,) uint32 or uint64
            In the ring.
        word : bytes
            One byte that the other members read, and that nobody else can change.
        """
        secret = self.key.own("salt", self.circle.about)
        for values in arrays:
            secret = tag(secret, values.tobytes())
        salt = secret[:SALT]
        own = self._own(salt)
        pairs = {other: self._pair(other) for other in self._others()}
        add(arrays, own, sign=1)
        for other, seed in pairs.items():
            add(arrays, seed, sign=self.circle.sign(self.name, other))
        seeds = {self.name: own, **pairs}
        return Masked(
            arrays=tuple(arrays),
            salt=salt,
            sealed=self._sealed(salt, seeds, word),
            committed={member: commitment(seed) for member, seed in seeds.items()},
        )

    def words(self, received: Mapping[str, tuple[bytes, bytes]]) -> dict[str, bytes]:
        """What members said to all others, beside their shares."""
        return {
            member: self._unsealed(member, salt, sealed)[-WORD:]
            for member, (salt, sealed) in received.items()
        }

    def reveal(
        self, survivors: Sequence[str], received: Mapping[str, tuple[bytes, bytes]]
    ) -> Revealed:
        """Shares of the survivors' own masks, and of those that they have in common with dropped.

        A site must do this once a circle: the caller sees to it.

        Parameters
        ----------
        survivors : sequence of str
            Whose arrays arrived.
        received : mapping of str to (bytes, bytes)
            Survivor -> its salt and what it sealed for this site.

        Raises
        ------
        SecureSumError
            When too few are left, this site is said to have dropped out, or a seal is broken.
        """
        dropped = self.circle.dropped(survivors)
        if self.name in dropped:
            raise SecureSumError("The coordinator says that this site dropped out.", site=self.name)
        own: dict[str, bytes] = {}
        pairs: dict[tuple[str, str], bytes] = {}
        for member in sorted(set(survivors)):
            salt, sealed = received.get(member, (b"", b""))
            shares = self._opened(member, salt, sealed)
            own[member] = shares.pop(member)
            pairs |= {(member, other): shares[other] for other in dropped}
        return Revealed(own=own, pairs=pairs)

    def _others(self) -> list[str]:
        return [name for name in self.circle.members if name != self.name]

    def _own(self, salt: bytes) -> bytes:
        return self.key.own("mask", self.circle.about, salt)

    def _pair(self, other: str) -> bytes:
        return self.key.shared(self.circle.keys[other], "mask", self.circle.about)

    def _sealed(self, salt: bytes, seeds: Mapping[str, bytes], word: bytes) -> dict[str, bytes]:
        """For every member, its shares of this site's masks in the order of the members."""
        points = range(1, len(self.circle.members) + 1)

        def shares(of: str, secret: bytes) -> dict[int, bytes]:
            def draw(k: int) -> bytes:
                about = (self.circle.about, salt, of.encode(), bytes([k]))
                return self.key.own("share", *about) + self.key.own("share, more", *about)[:16]

            return shamir.split(secret, points, self.circle.threshold, draw=draw)

        dealt = [shares(of, seeds[of]) for of in self.circle.members]
        return {
            member: ChaCha20Poly1305(self._seal(self.name, member, salt)).encrypt(
                NONCE, b"".join(of[self.circle.point(member)] for of in dealt) + word, None
            )
            for member in self.circle.members
        }

    def _opened(self, member: str, salt: bytes, sealed: bytes) -> dict[str, bytes]:
        """A member's shares by whose mask they are of."""
        content, size = self._unsealed(member, salt, sealed), shamir.SHARE
        return {of: content[k * size : (k + 1) * size] for k, of in enumerate(self.circle.members)}

    def _unsealed(self, member: str, salt: bytes, sealed: bytes) -> bytes:
        try:
            content = ChaCha20Poly1305(self._seal(member, self.name, salt)).decrypt(
                NONCE, sealed, None
            )
        except InvalidTag as error:
            raise SecureSumError(
                f"What '{member}' sealed for this site was changed on its way, or is of another "
                "sum.",
                site=self.name,
            ) from error
        return content

    def _seal(self, sender: str, recipient: str, salt: bytes) -> bytes:
        """The key of what one member seals for another."""
        about = (self.circle.about, salt, sender.encode(), recipient.encode())
        if sender == recipient:
            return self.key.own("seal", *about)
        other = recipient if sender == self.name else sender
        return self.key.shared(self.circle.keys[other], "seal", *about)

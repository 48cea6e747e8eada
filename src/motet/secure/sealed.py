"""Arrays of one site that one other reads: the coordinator passes on what it cannot open.

Each array is encrypted (ChaCha20-Poly1305) with a key that only sender and recipient can derive,
from their X25519 keys, the release, and a salt. The salt is a tag of the content under a secret of
the sender's: the same content is sealed to the same bytes, as a run that goes on needs it, and no
key ever seals two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from numpy.typing import NDArray

from motet.errors import SecureSumError
from motet.releases import Arrays, ArraySpec, bind, nbytes
from motet.secure.circle import about
from motet.secure.keys import SumKey, tag
from motet.secure.party import NONCE, SALT
from motet.secure.wire import TAG
from motet.store import little_endian

SEALED = "sealed"
"""Beginning of the names of sealed arrays that a recipient is handed."""


def sealed_specs(specs: Sequence[ArraySpec], sizes: Mapping[str, int]) -> tuple[ArraySpec, ...]:
    """The declaration of the same arrays as they look sealed: bytes."""
    return tuple(
        replace(
            spec,
            shape=(nbytes(spec, sizes) + TAG,),
            dtype="uint8",
            least=None,
            bound=None,
            moved_by_one_person=None,
        )
        for spec in specs
    )


@dataclass(frozen=True, kw_only=True)
class Seal:
    """One release from one site to another.

    Parameters
    ----------
    what : mapping
        Plain data that no two releases have in common.
    sender, recipient : str
    keys : mapping of str to bytes
        Public keys of both.
    """

    what: Mapping[str, object]
    sender: str
    recipient: str
    keys: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if self.sender == self.recipient or set(self.keys) != {self.sender, self.recipient}:
            raise SecureSumError("A sealed release has one sender and one other recipient.")

    @cached_property
    def about(self) -> bytes:
        """What its keys are bound to, 32 bytes."""
        ends = {"from": self.sender, "to": self.recipient}
        return about(SEALED, {**self.what, **ends}, self.keys)

    def close(self, key: SumKey, arrays: Arrays) -> tuple[bytes, dict[str, NDArray[np.uint8]]]:
        """The salt, and every array as bytes that the recipient alone can open.

        Parameters
        ----------
        key : SumKey
            The sender's.
        arrays : mapping of str to ndarray
        """
        self._check(self.sender, key)
        content = {name: little_endian(arrays[name]).tobytes() for name in sorted(arrays)}
        secret = key.own("salt of a seal", self.about)
        for name, data in content.items():
            secret = tag(secret, name.encode() + b"\x00" + data)
        salt = secret[:SALT]
        return salt, {
            name: np.frombuffer(
                self._cipher(key, self.recipient, salt, name).encrypt(NONCE, data, None),
                dtype=np.uint8,
            )
            for name, data in content.items()
        }

    def open(
        self,
        key: SumKey,
        salt: bytes,
        sealed: Arrays,
        specs: Sequence[ArraySpec],
        sizes: Mapping[str, int],
    ) -> dict[str, NDArray[Any]]:
        """The arrays, as they are declared.

        Parameters
        ----------
        key : SumKey
            The recipient's.
        salt : bytes
        sealed : mapping of str to (bytes,) uint8
        specs, sizes
            Their declaration.

        Raises
        ------
        SecureSumError
            When one is missing, or was changed on its way.
        """
        self._check(self.recipient, key)
        found: dict[str, NDArray[Any]] = {}
        for spec in specs:
            try:
                cipher = self._cipher(key, self.sender, salt, spec.name)
                data = cipher.decrypt(NONCE, sealed[spec.name].tobytes(), None)
                little = np.frombuffer(data, dtype=np.dtype(spec.dtype).newbyteorder("<"))
                found[spec.name] = little.reshape(bind(spec.shape, sizes)).astype(spec.dtype)
            except (InvalidTag, KeyError, ValueError) as error:
                raise SecureSumError(
                    f"What '{self.sender}' sealed for this site was changed on its way, or is "
                    "another release.",
                    site=self.recipient,
                ) from error
        return found

    def _check(self, name: str, key: SumKey) -> None:
        if self.keys[name] != key.public:
            raise SecureSumError("Another key stands for this site.", site=name)

    def _cipher(self, key: SumKey, other: str, salt: bytes, name: str) -> ChaCha20Poly1305:
        secret = key.shared(self.keys[other], "sealed array", self.about, salt, name.encode())
        return ChaCha20Poly1305(secret)

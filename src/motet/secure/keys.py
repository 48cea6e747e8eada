"""A site's key for secure sums, and what two sites derive from theirs."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import cached_property

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LENGTH = 32
"""Bytes of a key, public or private, and of what is derived."""


def fingerprint(public: bytes) -> str:
    """SHA-256 of a public key in hexadecimal, as people compare it."""
    return hashlib.sha256(public).hexdigest()


@dataclass(frozen=True)
class SumKey:
    """A site's key for secure sums. It never leaves the site.

    Parameters
    ----------
    private : bytes
        Of X25519.
    """

    private: bytes

    @classmethod
    def new(cls) -> SumKey:
        """A key from the operating system's entropy."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def of(cls, secret: bytes) -> SumKey:
        """The key that a site makes of a secret which it has anyway."""
        return cls(derived(secret, "key of secure sums"))

    @cached_property
    def public(self) -> bytes:
        """What others know, by its fingerprint."""
        own = X25519PrivateKey.from_private_bytes(self.private).public_key()
        return own.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def own(self, purpose: str, *about: bytes) -> bytes:
        """A secret of this site alone, the same each time it is asked for."""
        return derived(self.private, f"own {purpose}", *about)

    def shared(self, other: bytes, purpose: str, *about: bytes) -> bytes:
        """A secret of this site and another, by its public key."""
        secret = self._secrets.get(other)
        if secret is None:
            key = X25519PrivateKey.from_private_bytes(self.private)
            secret = key.exchange(X25519PublicKey.from_public_bytes(other))
            self._secrets[other] = secret
        return derived(secret, purpose, *about)

    @cached_property
    def _secrets(self) -> dict[bytes, bytes]:
        """What was exchanged with others: it is the same for all sums."""
        return {}


def derived(secret: bytes, purpose: str, *about: bytes) -> bytes:
    """HKDF-SHA-256 of a secret, for a purpose and what it is about."""
    info = b"motet secure sum\x00" + b"".join(
        len(part).to_bytes(8, "big") + part for part in (purpose.encode(), *about)
    )
    return HKDF(algorithm=hashes.SHA256(), length=LENGTH, salt=None, info=info).derive(secret)


def commitment(seed: bytes) -> bytes:
    """SHA-256 of a mask's seed: whoever joins shares knows whether they are of it."""
    return hashlib.sha256(b"motet mask\x00" + seed).digest()


def tag(secret: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256: tells two inputs apart without saying anything of either."""
    return hmac.digest(secret, data, "sha256")

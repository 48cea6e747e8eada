"""What sites and coordinator say to each other in a secure sum, as plain data."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from motet.errors import ProtocolError
from motet.releases import Arrays
from motet.secure.circle import Circle
from motet.secure.keys import LENGTH
from motet.secure.party import SALT, WORD, Masked, Revealed
from motet.secure.shamir import SHARE

TAG = 16
"""Bytes that ChaCha20-Poly1305 adds."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn what goes wrong while words of somebody else are read into a ProtocolError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise ProtocolError(f"{what} cannot be read.") from error


def _bytes(value: Any, size: int) -> bytes:
    found = bytes.fromhex(value)
    if len(found) != size:
        raise ValueError("another length")
    return found


def keys_document(keys: Mapping[str, bytes]) -> dict[str, str]:
    """Public keys by site."""
    return {site: key.hex() for site, key in sorted(keys.items())}


def read_key(value: Any) -> bytes:
    """A public key.

    Raises
    ------
    ProtocolError
        When it is none.
    """
    with reading("A public key"):
        return _bytes(value, LENGTH)


def read_salt(value: Any) -> bytes:
    """The salt of a seal, from hexadecimal.

    Raises
    ------
    ProtocolError
        When it is none.
    """
    with reading("The salt of a seal"):
        return _bytes(value, SALT)


def read_keys(document: Any) -> dict[str, bytes]:
    """Read what :func:`keys_document` made."""
    with reading("The keys of a secure sum"):
        return {str(site): _bytes(key, LENGTH) for site, key in document.items()}


def masked_document(masked: Masked) -> dict[str, Any]:
    """What goes with masked arrays."""
    return {
        "salt": masked.salt.hex(),
        "sealed": {site: b64encode(sealed).decode() for site, sealed in masked.sealed.items()},
        "committed": {site: seed.hex() for site, seed in masked.committed.items()},
    }


def read_masked(document: Any, arrays: Arrays, circle: Circle) -> Masked:
    """Read a site's reply.

    Raises
    ------
    ProtocolError
        When something is missing, or of another length.
    """
    size = SHARE * len(circle.members) + WORD + TAG
    with reading("What goes with masked arrays"):
        sealed = {m: b64decode(document["sealed"][m], validate=True) for m in circle.members}
        if any(len(one) != size for one in sealed.values()):
            raise ValueError("another length")
        return Masked(
            arrays=tuple(arrays[name].reshape(-1) for name in sorted(arrays)),
            salt=_bytes(document["salt"], SALT),
            sealed=sealed,
            committed={m: _bytes(document["committed"][m], LENGTH) for m in circle.members},
        )


def relayed_document(masked: Mapping[str, Masked], to: str) -> dict[str, Any]:
    """What survivors sealed for one of them."""
    return {
        site: [one.salt.hex(), b64encode(one.sealed[to]).decode()]
        for site, one in sorted(masked.items())
    }


def read_relayed(document: Any) -> dict[str, tuple[bytes, bytes]]:
    """Read what :func:`relayed_document` made."""
    with reading("What survivors sealed"):
        return {
            str(site): (_bytes(salt, SALT), b64decode(sealed, validate=True))
            for site, (salt, sealed) in document.items()
        }


def revealed_document(revealed: Revealed) -> dict[str, Any]:
    """Shares of masks that come off."""
    return {
        "own": {site: share.hex() for site, share in sorted(revealed.own.items())},
        "pairs": [[one, other, s.hex()] for (one, other), s in sorted(revealed.pairs.items())],
    }


def read_revealed(document: Any) -> Revealed:
    """Read what :func:`revealed_document` made."""
    with reading("Shares of masks"):
        return Revealed(
            own={str(site): _bytes(share, SHARE) for site, share in document["own"].items()},
            pairs={
                (str(one), str(other)): _bytes(share, SHARE)
                for one, other, share in document["pairs"]
            },
        )

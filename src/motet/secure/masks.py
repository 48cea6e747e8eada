"""Masks: keystreams of ChaCha20 as integers modulo 2^16, 2^32 or 2^64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

AT_ONCE = 2**20
"""Bytes masked at a time: they stay in a processor's cache."""

NONCE = bytes(16)
"""A seed makes one mask and is never used again, so the nonce need not tell uses apart."""


def add(arrays: Sequence[NDArray[Any]], seed: bytes, *, sign: int) -> None:
    """Add the mask of a seed to arrays, one after another, in place; or take it off.

    Parameters
    ----------
    arrays : sequence of (m,) uint16, uint32 or uint64
    seed : bytes
        32 bytes.
    sign : {1, -1}
    """
    stream = Cipher(ChaCha20(seed, NONCE), mode=None).encryptor()
    nothing = memoryview(bytes(AT_ONCE))
    for values in arrays:
        size = values.dtype.itemsize
        little = values.dtype.newbyteorder("<")
        for start in range(0, len(values), AT_ONCE // size):
            part = values[start : start + AT_ONCE // size]
            mask = np.frombuffer(stream.update(nothing[: size * len(part)]), dtype=little)
            if sign > 0:
                part += mask
            else:
                part -= mask

"""What holders of keys send, and how it is said: plain data and arrays by ``<key>/<array>``."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import ProtocolError
from motet.releases import Arrays
from motet.secure.panel import Panel
from motet.secure.wire import reading

TOTAL, SHARED = "total", "shared"
"""Beginnings of the names of arrays that a holder is handed."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What the coordinator has of one key.

    Attributes
    ----------
    panel : Panel
    arrays : mapping of str to Arrays
        Holder -> masked arrays by their declared names. Uniform, as is their sum.
    sealed : mapping of str to bytes
        Holder -> what the first one sealed for it.
    """

    panel: Panel
    arrays: Mapping[str, Arrays]
    sealed: Mapping[str, bytes]

    def total(self) -> dict[str, NDArray[Any]]:
        """The sum over the holders, which the coordinator cannot read."""
        found: dict[str, NDArray[Any]] = {}
        for site in self.panel.members:
            for name, array in self.arrays[site].items():
                found[name] = found[name] + array if name in found else np.array(array)
        return found


def of_key(arrays: Arrays, key: str) -> dict[str, NDArray[Any]]:
    """The arrays of one key, by their declared names."""
    start = f"{key}/"
    return {name.removeprefix(start): a for name, a in arrays.items() if name.startswith(start)}


def with_key(arrays: Arrays, key: str) -> dict[str, NDArray[Any]]:
    """The other way round."""
    return {f"{key}/{name}": array for name, array in arrays.items()}


def seals_document(sealed: Mapping[str, Mapping[str, bytes]]) -> dict[str, dict[str, str]]:
    """Key -> holder -> what is sealed for it."""
    return {
        key: {site: b64encode(one).decode() for site, one in sorted(of.items())}
        for key, of in sorted(sealed.items())
    }


def read_seals(document: Any, keys: Sequence[str]) -> dict[str, dict[str, bytes]]:
    """Read what :func:`seals_document` made, for some keys.

    Raises
    ------
    ProtocolError
    """
    with reading("What is sealed for holders"):
        found = {
            key: {str(site): b64decode(one, validate=True) for site, one in document[key].items()}
            for key in keys
        }
        if any(len(one) > 1000 for of in found.values() for one in of.values()):
            raise ProtocolError("A seal is too long.")
        return found

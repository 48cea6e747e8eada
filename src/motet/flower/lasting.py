"""What does not change during a training: its sites are told it once, and then its hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import ProtocolError
from motet.flower.records import Body
from motet.releases import Arrays
from motet.store import bytes_hash

LASTING = "lasting"
"""In a request: names of arrays to remember, or the hash of those to be remembered."""
FORGOTTEN = "forgotten"
"""In a reply, of a site that does not remember them: its process is another one, perhaps."""


class Lasting:
    """The coordinator's half.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Nobody changes them in place.

    Attributes
    ----------
    told : bool
        Whether the sites were told.
    """

    def __init__(self, arrays: Arrays) -> None:
        self._arrays, self.told = arrays, False
        self._hash = bytes_hash(arrays, "")

    def whole(self, body: Body) -> Body:
        """A request with all of its arrays, and which of them last."""
        return _with(
            body, body.arrays, [name for name in sorted(body.arrays) if self._has(name, body)]
        )

    def short(self, body: Body) -> Body:
        """The same without those that last."""
        if not all(self._has(name, body) for name in self._arrays):
            return body  # one is another now
        rest = {name: a for name, a in body.arrays.items() if name not in self._arrays}
        return _with(body, rest, self._hash)

    def _has(self, name: str, body: Body) -> bool:
        return name in self._arrays and body.arrays.get(name) is self._arrays[name]


class Remembering:
    """A site's half: holds what the training that runs was told."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        self._hash = ""

    def whole(self, body: Body) -> Body | None:
        """A request with all of its arrays; None where some were told to a process before this.

        Raises
        ------
        ProtocolError
        """
        said = body.document.get(LASTING) if isinstance(body.document, dict) else None
        if isinstance(said, str):
            if said != self._hash:
                return None
            return replace(body, arrays={**self._arrays, **body.arrays})
        # Another phase, or another training: what was remembered is not needed any more.
        self._arrays, self._hash = {}, ""
        if said is not None:
            try:
                # Copies: others of the same message are not to stay in memory with them.
                self._arrays = {str(name): np.array(body.arrays[name]) for name in said}
            except (KeyError, TypeError) as error:
                raise ProtocolError("A message says to remember what it does not hold.") from error
            self._hash = bytes_hash(self._arrays, "")
        return body


def _with(body: Body, arrays: Arrays, lasting: list[str] | str) -> Body:
    document: Mapping[str, Any] = body.document or {}
    return Body(document={**document, LASTING: lasting}, arrays=arrays)

"""The last noisy release of a training: noise is drawn once, and the same bytes are given again.

Two draws around the same sum could be averaged. So what was drawn is on the disk before it leaves,
in a file of its own: what a site keeps of its phases is undone after a crash, and this must not be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from motet.errors import ModelError, ProtocolError
from motet.releases import Arrays
from motet.store import OWNER, canonical_json, read_arrays, write_arrays

ABOUT = "__about__"


@dataclass(kw_only=True)
class Drawn:
    """What a training last sent from this site.

    Parameters
    ----------
    path : Path or None
        The file. None: it is remembered as long as the object lives.
    """

    path: Path | None
    _about: Mapping[str, Any] = field(default_factory=dict, init=False)
    _arrays: Arrays = field(default_factory=dict, init=False)

    def again(self, of: Mapping[str, Any], number: int, shared: str) -> Arrays | None:
        """What was sent in this very exchange; None where noise is to be drawn.

        Parameters
        ----------
        of : mapping
            Which training, over whom: another one begins anew.
        number : int
            Of the exchange.
        shared : str
            Hash of what the coordinator had shared.

        Raises
        ------
        ProtocolError
            When it is asked for an exchange that was done with another model, or before the last.
        """
        self._read()
        last = int(self._about.get("number", -1)) if self._about.get("of") == dict(of) else -1
        if number == last and self._about["shared"] == shared:
            return self._arrays
        if number and (last < 0 or number <= last):
            before = f"exchange {last} was the last" if last >= 0 else "it was not begun here"
            raise ProtocolError(
                f"The noise of exchange {number} of a private training is not drawn: {before}. "
                "Drawn twice it could be averaged away.",
                do="Run the study anew: the training begins again, and its epsilon is charged "
                "again.",
            )
        return None

    def at_first(self, of: Mapping[str, Any]) -> bool:
        """Whether only the first exchange of such a training was sent, which can be again."""
        self._read()
        about = self._about.get("of", {})
        return self._about.get("number") == 0 and {**about, **of} == about

    def put(self, of: Mapping[str, Any], number: int, shared: str, arrays: Arrays) -> None:
        """Write down what is going to leave."""
        self._about = {"of": dict(of), "number": number, "shared": shared}
        self._arrays = {name: np.asarray(array) for name, array in arrays.items()}
        if self.path is not None:
            about = np.frombuffer(canonical_json(dict(self._about)).encode(), dtype=np.uint8)
            write_arrays(self.path, {**self._arrays, ABOUT: about}, readable_by=OWNER)

    def remove(self) -> None:
        """Delete the file: the study is over."""
        self._about, self._arrays = {}, {}
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        if self._about or self.path is None or not self.path.is_file():
            return
        try:
            arrays = read_arrays(self.path)
            self._about = json.loads(arrays.pop(ABOUT).tobytes().decode())
            self._arrays = arrays
        except (ModelError, KeyError, ValueError):
            self._about, self._arrays = {}, {}

"""What a site keeps between phases: its own arrays, and which phases it has done."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import ModelError
from motet.store import canonical_json, read_arrays, write_arrays

STATE = "__state__"


class Keep(MutableMapping[str, NDArray[Any]]):
    """A mapping of arrays, committed to one file after every phase.

    Parameters
    ----------
    plan : str
        Hash of the plan the arrays belong to.
    data : str
        Fingerprint of the site's files: arrays made from other data are not taken up again.
    path : Path or None
        None keeps everything in memory.
    """

    def __init__(self, *, plan: str, data: str = "", path: Path | None = None) -> None:
        self._plan, self._data, self._path = plan, data, path
        self._arrays: dict[str, NDArray[Any]] = {}
        self.done: list[str] = []
        self._take_up()

    def commit(self, phase: str) -> None:
        """Mark a phase as done and write everything, atomically."""
        if phase not in self.done:
            self.done.append(phase)
        if self._path is None:
            return
        state = {"plan": self._plan, "data": self._data, "done": self.done}
        text = np.frombuffer(canonical_json(state).encode(), dtype=np.uint8)
        write_arrays(self._path, {**self._arrays, STATE: text})

    def remove(self) -> None:
        """Delete the file: the run is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _take_up(self) -> None:
        if self._path is None or not self._path.is_file():
            return
        try:
            arrays = read_arrays(self._path)
            state = json.loads(arrays.pop(STATE).tobytes().decode())
        except (ModelError, KeyError, ValueError):
            return  # damaged: the site says it has done nothing, and the run starts over
        if state.get("plan") == self._plan and state.get("data") == self._data:
            self._arrays, self.done = arrays, list(state["done"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __setitem__(self, name: str, array: NDArray[Any]) -> None:
        self._arrays[name] = np.asarray(array)

    def __delitem__(self, name: str) -> None:
        del self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

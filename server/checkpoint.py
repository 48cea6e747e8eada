"""What the coordinator needs to go on after a crash: written after every phase, atomically."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import ModelError
from motet.store import canonical_json, read_arrays, write_arrays

STATE = "__state__"


@dataclass(kw_only=True)
class Progress:
    """The shared model so far, which steps led to it, what was received, and logs of trainings."""

    plan: str
    sites: tuple[str, ...]
    done: list[str] = field(default_factory=list)
    shared: dict[str, NDArray[Any]] = field(default_factory=dict)
    received: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)


class Checkpoint:
    """One file: arrays and state together, so that they can never disagree.

    Parameters
    ----------
    path : Path or None
        None keeps nothing on disk.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def save(self, progress: Progress) -> None:
        """Replace the file by this progress."""
        if self._path is None:
            return
        state = {
            "plan": progress.plan,
            "sites": list(progress.sites),
            "done": progress.done,
            "received": progress.received,
            "log": progress.log,
        }
        text = np.frombuffer(canonical_json(state).encode(), dtype=np.uint8)
        write_arrays(self._path, {**progress.shared, STATE: text})

    def load(self, *, plan: str, sites: tuple[str, ...]) -> Progress | None:
        """The saved progress of this plan with these sites; None where there is none."""
        if self._path is None or not self._path.is_file():
            return None
        try:
            arrays = read_arrays(self._path)
            state = _state(arrays.pop(STATE))
        except (ModelError, KeyError, ValueError):
            return None  # damaged: the run starts over, which costs time and nothing else
        if state.get("plan") != plan or tuple(state.get("sites", ())) != sites:
            return None
        received = list(state.get("received", ()))
        done = list(state["done"])
        return Progress(
            plan=plan,
            sites=sites,
            done=done,
            shared=arrays,
            received=received,
            log=list(state.get("log", ())),
        )

    def remove(self) -> None:
        """Forget it: the run is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _state(text: NDArray[Any]) -> dict[str, Any]:
    state = json.loads(text.tobytes().decode())
    if not isinstance(state, dict):
        raise ValueError("not a state")
    return state

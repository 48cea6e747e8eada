"""What a site keeps between phases: its own arrays, and which phases it has done."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import ModelError
from motet.store import OWNER, canonical_json, read_arrays, write_arrays
from motet.training.exchange import before, then

STATE = "__state__"


@dataclass(kw_only=True)
class _Version:
    """What was kept after the phases in ``done``."""

    done: list[str] = field(default_factory=list)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


class Keep(MutableMapping[str, NDArray[Any]]):
    """A mapping of arrays with a version a phase: the last committed, and the one before it.

    Arrays are kept read-only, so that going back one version undoes a phase completely. A phase
    that was committed but not recorded by the coordinator before a crash is undone and done again,
    and sends the same bytes.

    Parameters
    ----------
    plan : str
        Hash of the plan the arrays belong to.
    data : str
        Fingerprint of the site's files: arrays made from other data are not taken up again.
    path : Path or None
        File of the last version; the one before it lies beside it. None keeps both in memory.
    """

    def __init__(self, *, plan: str, data: str = "", path: Path | None = None) -> None:
        self._plan, self._data, self._path = plan, data, path
        self._working: dict[str, NDArray[Any]] = {}
        self._last, self._before = _Version(), _Version()
        self._in_file: list[str] | None = None  # what the file of the last version holds

    @property
    def done(self) -> list[str]:
        """Paths of the committed phases, in order."""
        return self._last.done

    def begin(self) -> None:
        """Forget everything: a run starts from its first phase."""
        self._last, self._before, self._working = _Version(), _Version(), {}
        self._in_file = None
        for path in self._paths():
            path.unlink(missing_ok=True)

    def resume(self, done: Sequence[str]) -> bool:
        """Take up the state after the phases in `done`; False where it is not to be had."""
        found = [version for version in self._found() if version.done == list(done)]
        if found:
            self._take(found[0])
        return bool(found)

    def resume_before(self, phase: str) -> bool:
        """Take up the latest state in which `phase` is not done; False where there is none."""
        found = [version for version in self._found() if phase not in version.done]
        if found:
            self._take(found[0])
        return bool(found)

    def _found(self) -> list[_Version]:
        """The versions that are to be had, the last first."""
        versions = [self._read(path) for path in self._paths()] or [self._last, self._before]
        self._in_file = versions[0].done if versions[0] else None
        return [version for version in versions if version is not None]

    def _take(self, version: _Version) -> None:
        self._last, self._before = version, _Version()
        self._working = dict(version.arrays)

    def undo(self, phase: str) -> bool:
        """Go back to before `phase` if it is the last committed; say whether that is so."""
        if not self.done or self.done[-1] != phase:
            return False
        if self._before.done not in before(self.done):
            return False
        self._last = self._before
        self._working = dict(self._last.arrays)
        return True

    def roll_back(self) -> None:
        """Drop what a phase that failed had begun to keep."""
        self._working = dict(self._last.arrays)

    def commit(self, phase: str) -> None:
        """Mark a phase as done and write its version, atomically."""
        new = _Version(done=then(self.done, phase), arrays=dict(self._working))
        if self._path is not None:
            last, before = self._paths()
            if self._in_file == self.done and last.is_file():
                last.replace(before)
            self._write(last, new)
            self._in_file = new.done
        self._before, self._last = self._last, new

    def remove(self) -> None:
        """Delete the files: the run is complete."""
        for path in self._paths():
            path.unlink(missing_ok=True)

    def _paths(self) -> tuple[Path, ...]:
        if self._path is None:
            return ()
        return self._path, self._path.with_name(f"{self._path.name}.before")

    def _write(self, path: Path, version: _Version) -> None:
        state = {"plan": self._plan, "data": self._data, "done": version.done}
        text = np.frombuffer(canonical_json(state).encode(), dtype=np.uint8)
        write_arrays(path, {**version.arrays, STATE: text}, readable_by=OWNER)

    def _read(self, path: Path) -> _Version | None:
        """A version of this plan and these data; None where it is missing or damaged."""
        try:
            arrays = read_arrays(path)
            state = json.loads(arrays.pop(STATE).tobytes().decode())
            if (state["plan"], state["data"]) != (self._plan, self._data):
                return None
            done = [str(phase) for phase in state["done"]]
        except (ModelError, KeyError, TypeError, ValueError):
            return None
        for array in arrays.values():
            array.setflags(write=False)
        return _Version(done=done, arrays=arrays)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._working[name]

    def __setitem__(self, name: str, array: NDArray[Any]) -> None:
        # A read-only copy: what is kept can only be replaced, never changed in place.
        kept = np.array(array)
        kept.setflags(write=False)
        self._working[name] = kept

    def __delitem__(self, name: str) -> None:
        del self._working[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._working)

    def __len__(self) -> int:
        return len(self._working)

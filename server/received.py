"""What the coordinator received, array by array: its own record, not the sites'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from motet.phases import Phase
from motet.releases import Arrays
from motet.store import canonical_json

MASKED = "masked"
"""What is noted in the place of the class of sums that only their total over sites reads."""


class Received:
    """Counts arrays and descriptions that were accepted."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], dict[str, Any]] = {}

    def also(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Add what :meth:`to_json` gave in a run that was interrupted and goes on."""
        for entry in entries:
            self._add(dict(entry), int(entry["times"]))

    def only(
        self, entries: Iterable[Mapping[str, Any]], *, since: Iterable[Mapping[str, Any]]
    ) -> None:
        """Know these entries, of a run that goes on, and what was accepted after `since`."""
        before = {_key(entry): int(entry["times"]) for entry in since}
        now = self.to_json()
        self._found = {}
        self.also(entries)
        for entry in now:
            if times := int(entry["times"]) - before.get(_key(entry), 0):
                self._add(entry, times)

    def description(self, site: str, document: Any) -> None:
        """Note a site's description of its data."""
        size = len(canonical_json(document).encode())
        self._add(_entry(site, "schema", "schema", "description", "json", (), size), 1)

    def arrays(
        self, site: str, phase: Phase, path: str, arrays: Arrays, *, masked: bool = False
    ) -> None:
        """Note what a site sent in a phase; what is masked says nothing of that site."""
        leaves = MASKED if masked else str(phase.leaves)
        for name, array in arrays.items():
            dtype, shape = array.dtype.name, array.shape
            self._add(_entry(site, path, leaves, name, dtype, shape, array.nbytes), 1)

    def to_json(self) -> list[dict[str, Any]]:
        """One entry an array of a site and phase, sorted, as ``run.json`` holds them."""
        return [dict(self._found[key]) for key in sorted(self._found)]

    def _add(self, entry: dict[str, Any], times: int) -> None:
        key = _key(entry)
        before = self._found.get(key, {}).get("times", 0)
        self._found[key] = {**entry, "times": before + times}


def _key(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(entry["site"]), str(entry["phase"]), str(entry["array"])


def _entry(
    site: str,
    phase: str,
    leaves: str,
    array: str,
    dtype: str,
    shape: tuple[int, ...],
    size: int,
) -> dict[str, Any]:
    found: Mapping[str, Any] = {
        "site": site,
        "phase": phase,
        "class": leaves,
        "array": array,
        "dtype": dtype,
        "shape": list(shape),
        "bytes": size,
    }
    return dict(found)

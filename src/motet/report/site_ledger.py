"""What left a site, from its own ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet.ledger import Ledger as Book
from motet.report.leaving import CLASSES
from motet.report.words import shape, short, size
from motet.training.privacy import sentences

AT_MOST = 300
"""Rows shown; the ledger has all."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Rows (phase, class, array, shape, bytes, digest, times) and what they add up to.

    ``charges`` are sentences of what differential privacy covers, one pair for every charge.
    """

    rows: tuple[tuple[str, ...], ...]
    more: int
    total: str
    classes: tuple[tuple[str, str], ...]
    charges: tuple[str, ...] = ()


def read_ledger(path: Path, *, study: str) -> Ledger:
    """Read the releases of a study; the same bytes sent again count again."""
    times: dict[tuple[str, ...], int] = {}
    total, charges = 0, list[str]()
    book = Book.found(path)
    for entry in (e.body for e in book.entries()) if book is not None else ():
        if entry.get("study") != study:
            continue
        if entry.get("kind") == "charge":
            charges += sentences(entry)
        if entry.get("kind") != "release":
            continue
        for row, count in _rows(entry):
            times[row] = times.get(row, 0) + 1
            total += count
    rows = [(*row, str(n)) for row, n in times.items()]
    present = {row[1] for row in rows}
    return Ledger(
        rows=tuple(rows[:AT_MOST]),
        more=max(0, len(rows) - AT_MOST),
        total=size(total),
        classes=tuple((name, words) for name, words in CLASSES.items() if name in present),
        charges=tuple(charges),
    )


def _rows(entry: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], int]]:
    phase = str(entry.get("phase", ""))
    leaves = str(entry.get("class", ""))
    # Sums that belong to a circle went out behind masks, what is published in one was sealed.
    if "circle" in entry:
        leaves = {"sum": "masked", "update": "masked", "published": "sealed"}.get(leaves, leaves)
    if "keys" in entry:
        keys = ", ".join(map(str, entry["keys"]))
        yield (phase, leaves, keys, "text", "–", short(str(entry.get("sha256", "")))), 0
    for array in entry.get("arrays", ()):
        count = int(array["bytes"])
        yield (
            (
                phase,
                leaves,
                str(array["name"]),
                f"{shape(array['shape'])} {array['dtype']}",
                size(count),
                short(str(array["sha256"])),
            ),
            count,
        )

"""Text tables (TSV, CSV, gzipped or not), read and written without changing a character."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from motet.bids.checks import Place
from motet.errors import nearest

MISSING = ("n/a", "N/A", "NA", "NaN", "nan", "")
"""How a missing cell may be written; 'n/a' is what BIDS asks for and what Motet writes."""

_NONE = frozenset(MISSING)
_SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}


def is_missing(text: str) -> bool:
    """Whether a cell says that the value is missing."""
    return text.strip() in _NONE


def number(text: str) -> float | None:
    """Return the number a cell holds (it may be infinite), or None where it is text."""
    # float() would also take '1_000' and non-ASCII digits, which other readers refuse.
    if "_" in text or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


@dataclass(frozen=True, kw_only=True, eq=False)
class TextTable:
    """A table as text: header and rows, all rows as long as the header."""

    header: tuple[str, ...]
    rows: list[list[str]]
    place: Place

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.header)}

    def position(self, name: str) -> int:
        """Index of a column; the error suggests the nearest name."""
        if name in self._positions:
            return self._positions[name]
        return position_of(self.header, name, place=self.place)

    def column(self, name: str) -> list[str]:
        """Cells of a column without surrounding blanks."""
        at = self.position(name)
        return [row[at].strip() for row in self.rows]


def position_of(header: Sequence[str], name: str, *, place: Place) -> int:
    """Index of a column in a header; the error suggests the nearest name."""
    if name in header:
        return header.index(name)
    hint = nearest(name, header)
    raise place.error(
        f"There is no column '{name}'.",
        do=hint or f"The columns are: {', '.join(header[:12])}{' …' * (len(header) > 12)}.",
        column=name,
    )


@contextmanager
def opened(path: Path, place: Place) -> Iterator[IO[str]]:
    """Open a text file, gunzipped by suffix; all that can go wrong becomes one sentence."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as stream:
                yield stream
        else:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                yield stream
    except FileNotFoundError as error:
        raise place.error("The file is missing.") from error
    except UnicodeDecodeError as error:
        raise place.error(
            f"The file is not UTF-8 text (byte {error.start} of a block: {error.reason}).",
            do="Save it as UTF-8, without colours, formulas or other spreadsheet format.",
        ) from error
    except (OSError, EOFError, csv.Error) as error:
        raise place.error(f"The file cannot be read: {error}.") from error


def records(stream: IO[str], separator: str, place: Place) -> Iterator[list[str]]:
    """Header, then rows; blank lines are skipped and a ragged row is refused."""
    width = 0
    reader = csv.reader(stream, delimiter=separator)
    for row in reader:
        if not row or (len(row) == 1 and not row[0].strip()):
            continue
        if not width:
            _check_separator(row, separator, place)
        width = width or len(row)
        if len(row) != width:
            raise ragged(reader.line_num, len(row), width, place)
        yield row


def _check_separator(header: Sequence[str], separator: str, place: Place) -> None:
    """Refuse a header that is one cell and has another separator in it."""
    if len(header) > 1:
        return
    for other, words in _SEPARATORS.items():
        if other != separator and other in header[0]:
            here = _SEPARATORS[separator]
            raise place.error(
                f"The header is one cell with {words} in it: cells are to be separated by {here}.",
                do=f"Save the file again with {here} between the cells.",
            )


def ragged(line: int, cells: int, width: int, place: Place) -> Exception:
    """Make the error about a row that is shorter or longer than the header."""
    return place.error(
        f"Line {line} has {cells} cell(s), the header has {width}.",
        do="Write n/a for a missing cell, and one separator between cells.",
    )


def read_text(path: Path, *, place: Place, separator: str = "\t") -> TextTable:
    """Read a whole table as text, not a character changed."""
    with opened(path, place) as stream:
        rows = list(records(stream, separator, place))
    if not rows:
        raise place.error("The file is empty.")
    return TextTable(header=tuple(name.strip() for name in rows[0]), rows=rows[1:], place=place)


def write_text(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a TSV; cells are quoted only where they must be. Not atomic: see `folder.py`."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def exact(value: float) -> str:
    """Return the shortest text that reads back as the same float64; n/a for NaN."""
    return "n/a" if value != value else repr(value)

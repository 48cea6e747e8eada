"""Checks that every table passes, whether it comes from files or from memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from motet.errors import CONTROL, DataError, is_plain_name, listed

T = TypeVar("T", bound=Hashable)
CELLS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something is read: every error about it names the site and the file."""

    site: str = ""
    file: Path | None = None

    def error(self, what: str, *, do: str = "", **where: object) -> DataError:
        """Make the error that says `what` happened here; the caller raises it."""
        return DataError(what, do=do, site=self.site, file=self.file, **where)


def check_name(name: str, kind: str, *, place: Place) -> None:
    """Refuse a site or batch name that cannot be part of a path or of ``site/batch``."""
    if not is_plain_name(name):
        raise place.error(
            f"The {kind} name {name!r} holds a slash or control character, or is empty or long.",
            do="Rename it with letters, digits, '-' and '_'.",
        )


def check_labels(names: Sequence[str], kind: str, *, place: Place) -> None:
    """Refuse nameless or repeated names, and control characters; `kind` is 'feature' or so."""
    # One search over all names: tables may have several 100000 features.
    if CONTROL.search("".join(names)):
        name = next(name for name in names if CONTROL.search(name))
        raise place.error(f"The {kind} name {name!r} holds a control character.", do="Rename it.")
    if not all(names):
        position = next(i for i, name in enumerate(names) if not name)
        raise place.error(f"{kind.capitalize()} {position + 1} has no name.", do="Name it.")
    if len(set(names)) < len(names):
        twice = repeated(names)
        raise place.error(
            f"The {kind}(s) {listed(twice)} occur more than once.",
            do="Keep one of them, or rename.",
            **{"feature" if kind == "feature" else "column": twice[0]},
        )


def repeated(items: Sequence[T]) -> list[T]:
    """Return the items that occur more than once, in order of first occurrence."""
    return [item for item, count in Counter(items).items() if count > 1]


def check_people(
    people: Sequence[str], sessions: Sequence[str] | None = None, *, place: Place
) -> None:
    """Refuse no people, a row without a person, and a repeated (person, session)."""
    if not people:
        raise place.error("There are no people in it: it has no rows.")
    for column, labels in (("participant_id", people), ("session_id", sessions or ())):
        if CONTROL.search("".join(labels)):
            name = next(name for name in labels if CONTROL.search(name))
            raise place.error(f"{name!r} holds a control character.", column=column)
        if not all(labels):
            row = next(i for i, name in enumerate(labels) if not name)
            raise place.error(
                f"Row {row + 1} below the header has no {column}.",
                do="Fill it in, or remove the row.",
                column=column,
            )
    if sessions is None:
        twice = repeated(people)
        if twice:
            raise place.error(
                f"{listed(twice)} occur(s) in more than one row.",
                do="One row a person; several sessions of a person need a session_id column in "
                "features.tsv.",
                person=twice[0],
            )
        return
    pairs = repeated(list(zip(people, sessions, strict=True)))
    if pairs:
        raise place.error(
            f"{listed(f'{who} ({session})' for who, session in pairs)} occur(s) in more than one "
            "row.",
            do="Keep one row for each person and session.",
            person=pairs[0][0],
        )


def _blocks(values: NDArray[np.float64], n: int) -> Iterator[tuple[slice, slice]]:
    """Row blocks, or column blocks where columns are contiguous, so a file is read in order."""
    p = values.shape[1]
    if values.flags.f_contiguous and not values.flags.c_contiguous:
        step = max(1, CELLS_AT_ONCE // max(1, len(values)))
        for start in range(0, p, step):
            yield slice(0, n), slice(start, min(start + step, p))
    else:
        step = max(1, CELLS_AT_ONCE // max(1, p))
        for start in range(0, n, step):
            yield slice(start, min(start + step, n)), slice(0, p)


def check_finite(
    values: NDArray[np.float64],
    rows: NDArray[np.intp] | None,
    *,
    who: Callable[[int], str],
    features: Sequence[str],
    place: Place,
) -> None:
    """Refuse infinite values, naming person and feature; NaN (missing) is fine.

    Parameters
    ----------
    values : (N, p) float64
        May be memory-mapped: it is read block by block and never copied as a whole.
    rows : (n,) int or None
        The rows to look at; None: all.
    who : callable
        Names row 0 to n-1 in a sentence.
    features : sequence of str
    place : Place
    """
    n = len(values) if rows is None else len(rows)
    for row_part, column_part in _blocks(values, n):
        part: NDArray[Any] = values[row_part if rows is None else rows[row_part], column_part]
        infinite = np.isinf(part)
        if infinite.any():
            i, j = np.argwhere(infinite)[0]
            feature = features[column_part.start + int(j)]
            raise place.error(
                f"The value is infinite ({part[i, j]}).",
                do="Correct it, or write n/a (NaN in an array) where it is missing.",
                person=who(row_part.start + int(i)),
                feature=feature,
            )


def check_same_people(
    participants: Sequence[str], measured: Sequence[str], *, place: Place
) -> None:
    """Refuse a person who is in participants.tsv and not in features.tsv, or the reverse."""
    known, found = set(participants), set(measured)
    without_values = [name for name in participants if name not in found]
    without_row = list(dict.fromkeys(name for name in measured if name not in known))
    if not (without_values or without_row):
        return
    hint = ""
    if {n.removeprefix("sub-") for n in known} == {n.removeprefix("sub-") for n in found}:
        hint = "The ids differ only by 'sub-': write them the same way in both files."
    said = []
    if without_values:
        said.append(f"{listed(without_values)} in participants.tsv but not in features.tsv")
    if without_row:
        said.append(f"{listed(without_row)} in features.tsv but not in participants.tsv")
    raise place.error(
        f"People are missing from one of the two files: {'; '.join(said)}.",
        do=hint or "Add the missing rows, or remove these people from both files.",
        person=(without_values + without_row)[0],
    )

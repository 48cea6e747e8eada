"""A site's measures: features.tsv, or features.npy for large tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet.bids.checks import Place, check_labels, check_people, check_same_people
from motet.bids.plausible import coded_cell
from motet.bids.tsv import MISSING, number, opened, position_of, ragged, records
from motet.errors import listed, nearest
from motet.store import load_array

PERSON, SESSION = "participant_id", "session_id"
TRUTHS = ("rue", "RUE", "alse", "ALSE")


@dataclass(frozen=True, kw_only=True, eq=False)
class Measures:
    """What a features file holds: n rows, p features."""

    people: list[str]
    sessions: list[str] | None
    values: NDArray[np.float64]
    features: tuple[str, ...]
    units: tuple[str, ...]
    form: Literal["tsv", "npy"]
    place: Place


def read_measures(folder: Path, participants: Sequence[str], *, site: str) -> Measures:
    """Read the one features file of a site's folder and check it against the participants.

    Parameters
    ----------
    folder : Path
    participants : sequence of str
        ``participant_id`` of participants.tsv, in its order.
    site : str
    """
    tsv, npy = folder / "features.tsv", folder / "features.npy"
    place = Place(site=site, file=folder)
    if tsv.exists() and npy.exists():
        raise place.error(
            "There is both a features.tsv and a features.npy.", do="Keep the one that counts."
        )
    if tsv.exists():
        return _read_tsv(tsv, participants, site=site)
    if npy.exists():
        return _read_npy(npy, participants, site=site)
    raise place.error(
        "There is neither a features.tsv nor a features.npy.",
        do="Put one beside participants.tsv; 'motet split' makes both from a pooled table.",
    )


def _read_tsv(path: Path, participants: Sequence[str], *, site: str) -> Measures:
    place = Place(site=site, file=path)
    header, may_hold_truths = _header_of_even_rows(path, place)
    position_of(header, PERSON, place=place)
    features = tuple(name for name in header if name not in (PERSON, SESSION))
    check_features(features, place=place)
    check_labels(header, "column", place=place)
    if may_hold_truths:
        _refuse_text(path, header, features, place)
    frame = _parsed(path, header, features, place)
    people = _labels(frame[PERSON])
    sessions = _labels(frame[SESSION]) if SESSION in header else None
    check_people(people, sessions, place=place)
    check_same_people(participants, people, place=place)
    # C order whatever pandas chose: the order in memory decides the last bit of a sum, and a TSV
    # has to give the same as an npy file.
    values = np.ascontiguousarray(frame[list(features)].to_numpy(dtype=np.float64))
    if (cell := coded_cell(values)) is not None:
        row, column = cell
        raise place.error(
            f"The value is {values[cell]:.12g}, which stands for a missing value in many tables; "
            "nobody here has another below zero.",
            do="Write n/a where a value is missing.",
            person=people[row],
            feature=features[column],
        )
    return Measures(
        people=people,
        sessions=sessions,
        values=values,
        features=features,
        units=_sidecar_units(path.with_suffix(".json"), features, site=site),
        form="tsv",
        place=place,
    )


def check_features(features: Sequence[str], *, place: Place) -> None:
    """Refuse no features, and features without a name, repeated or with control characters."""
    if not features:
        raise place.error("There are no features in it.", do="Add a column for each feature.")
    check_labels(features, "feature", place=place)


def _labels(column: pd.Series[Any]) -> list[str]:
    return ["" if text != text else str(text).strip() for text in column.tolist()]


def _header_of_even_rows(path: Path, place: Place) -> tuple[list[str], bool]:
    """Return the header, having seen that all rows are as long as it.

    pandas would pad a short row with NaN without a word. It also takes True for 1: the second
    result says that there may be such a cell.
    """
    may_hold_truths = False
    with opened(path, place) as stream:
        header = next(records(stream, "\t", place), None)
        if header is None:
            raise place.error("The file is empty.")
        stream.seek(0)
        for line_number, line in enumerate(stream, start=1):
            if '"' in line:
                # Quoted cells may hold separators: only the csv module counts them right.
                stream.seek(0)
                for _ in records(stream, "\t", place):
                    pass
                may_hold_truths = True
                break
            cells = line.count("\t") + 1
            if cells != len(header) and line.strip(" \r\n"):
                raise ragged(line_number, cells, len(header), place)
            if line_number > 1 and not may_hold_truths:
                may_hold_truths = any(part in line for part in TRUTHS)
    return [name.strip() for name in header], may_hold_truths


def _parsed(
    path: Path, header: Sequence[str], features: Sequence[str], place: Place
) -> pd.DataFrame:
    types: dict[str, Any] = dict.fromkeys(features, np.float64)
    # From version 3.1 the default of pandas reads every float64 back exactly; a test watches it.
    try:
        return pd.read_csv(
            path,
            sep="\t",
            header=0,
            names=list(header),
            index_col=False,
            dtype=types | {name: "str" for name in header if name not in types},
            na_values=list(MISSING),
            keep_default_na=False,
            encoding="utf-8",
        )
    except (ValueError, OverflowError) as error:
        _refuse_text(path, header, features, place)
        raise place.error(f"The numbers cannot be read: {error}.") from error


def _refuse_text(path: Path, header: Sequence[str], features: Sequence[str], place: Place) -> None:
    """Name the first cell of a feature that is not a number, if there is one (slow)."""
    measured = set(features)
    with opened(path, place) as stream:
        rows = records(stream, "\t", place)
        next(rows)
        for row in rows:
            for name, text in zip(header, row, strict=True):
                if name not in measured or text in MISSING or number(text) is not None:
                    continue
                comma = number(text.replace(",", ".")) is not None
                raise place.error(
                    f"'{text}' is not a number.",
                    do="Write numbers with a decimal point."
                    if comma
                    else "Write n/a where a value is missing; columns of text belong into "
                    "participants.tsv.",
                    person=row[list(header).index(PERSON)].strip(),
                    feature=name,
                )


def _read_npy(path: Path, participants: Sequence[str], *, site: str) -> Measures:
    place = Place(site=site, file=path)
    features, units = _npy_names(path.with_suffix(".json"), site=site)
    try:
        values = load_array(path, mapped=True)
    except (ValueError, OSError, EOFError) as error:
        raise place.error(
            f"The array cannot be read: {error}.", do="Write it with numpy.save as float64."
        ) from error
    if values.dtype != np.dtype("<f8"):
        raise place.error(
            f"The array has dtype {values.dtype}.", do="Write it as float64: values.astype('<f8')."
        )
    if values.ndim != 2:
        raise place.error(f"The array has {values.ndim} dimension(s); it needs people x features.")
    if len(values) != len(participants):
        raise place.error(
            f"The array has {len(values)} rows and participants.tsv {len(participants)} people.",
            do="Both need the same people in the same order.",
        )
    if values.shape[1] != len(features):
        raise place.error(
            f"The array has {values.shape[1]} columns and features.json names {len(features)}.",
            do="Name every column, in order.",
        )
    return Measures(
        people=list(participants),
        sessions=None,
        values=values,
        features=features,
        units=units,
        form="npy",
        place=place,
    )


def _json(path: Path, place: Place) -> dict[str, Any]:
    with opened(path, place) as stream:
        try:
            document = json.load(stream)
        except json.JSONDecodeError as error:
            raise place.error(f"The file is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise place.error("The file is not a JSON object.")
    return document


def _npy_names(path: Path, *, site: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    place = Place(site=site, file=path)
    form = 'Write {"features": ["name", …], "units": {"name": "mm"}}, one name a column.'
    if not path.exists():
        raise place.error("features.npy needs its names in features.json.", do=form)
    document = _json(path, place)
    names, units = document.get("features"), document.get("units", {})
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise place.error("'features' is not a list of names.", do=form)
    if not isinstance(units, dict) or not all(isinstance(unit, str) for unit in units.values()):
        raise place.error("'units' does not map names to units.", do=form)
    check_features(names, place=place)
    unknown = sorted(set(units) - set(names))
    if unknown:
        raise place.error(
            f"'units' names {listed(unknown)}, not among the features.",
            do=nearest(unknown[0], names),
            feature=unknown[0],
        )
    return tuple(names), tuple(units.get(name, "") for name in names)


def _sidecar_units(path: Path, features: Sequence[str], *, site: str) -> tuple[str, ...]:
    if not path.exists():
        return ("",) * len(features)
    document = _json(path, Place(site=site, file=path))
    entries = (document.get(name) for name in features)
    units = (entry.get("Units", "") if isinstance(entry, dict) else "" for entry in entries)
    return tuple("" if unit in (None, "n/a") else str(unit) for unit in units)

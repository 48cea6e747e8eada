"""Covariates: from a column of text or values to numbers or levels."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.bids.plausible import missing_codes, usual
from motet.bids.telling import refuse_identifier, refuse_telling
from motet.bids.tsv import is_missing, number
from motet.errors import StudyFileError, listed, nearest
from motet.schema import Kind, SiteCovariate
from motet.spline import Spline

# Plain decimals without leading zeros: '007' or '1e5' may be codes and are left alone.
DECIMAL = re.compile(r"([+-]?)(0|[1-9][0-9]*)(?:\.([0-9]*))?")
Sort = Kind | Spline
"""What a covariate is here: numbers, levels, or numbers that the study wants a curve of."""
# A column of ages with one typing error must not silently become hundreds of levels.
MANY_NUMBERS = 10


def level(value: object) -> str:
    """Return the name of a category: '1', '1.0', 1 and 1.0 are all the level '1'."""
    text = str(value).strip()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        text = str(int(value))
    match = DECIMAL.fullmatch(text)
    if match is None:
        return text
    sign, whole, fraction = match.group(1), match.group(2), (match.group(3) or "").rstrip("0")
    digits = f"{whole}.{fraction}" if fraction else whole
    return f"-{digits}" if sign == "-" and digits != "0" else digits


@dataclass(frozen=True, kw_only=True)
class CovariateRequest:
    """How a study wants a covariate.

    Parameters
    ----------
    kind : {"auto", "continuous", "categorical"}
        auto: continuous where every value is a number, else categorical.
    levels : tuple of str
        The only values a categorical covariate may take; empty: whatever is there.
    spline : Spline, optional
        The curve that the study wants of a continuous one.
    """

    kind: Literal["auto", "continuous", "categorical"] = "auto"
    levels: tuple[str, ...] = ()
    spline: Spline | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("auto", "continuous", "categorical"):
            raise StudyFileError(
                f"A covariate is 'continuous' or 'categorical', not '{self.kind}'.",
                do=nearest(self.kind, ("continuous", "categorical")),
            )
        if self.levels and self.kind == "continuous":
            raise StudyFileError("A continuous covariate has no levels.", do="Leave out one.")
        if self.spline and self.kind != "continuous":
            raise StudyFileError("A spline is of a continuous covariate.")
        # YAML turns unquoted levels into numbers and booleans; normalised they are text again.
        levels = tuple(level(value) for value in self.levels)
        if len(set(levels)) < len(levels):
            raise StudyFileError(f"A level is listed twice: {listed(levels)}.")
        object.__setattr__(self, "levels", levels)


def resolve(
    columns: Mapping[str, pd.Series[Any]],
    requests: Mapping[str, CovariateRequest],
    *,
    people: Sequence[str],
    place: Place,
) -> tuple[pd.DataFrame, dict[str, Sort]]:
    """Turn the requested columns into numbers and levels.

    Parameters
    ----------
    columns : mapping of str to Series
        (n,) each; text, or values of any dtype.
    requests : mapping of str to CovariateRequest
        In the order of the study.
    people : sequence of str
        (n,) names, for errors.
    place : Place

    Returns
    -------
    frame : DataFrame
        n rows; float64 or str columns, in the order of `requests`.
    kinds : dict
        Name of a covariate -> "continuous", "categorical" or a spline.

    Raises
    ------
    DataError
        Names the column and the person: missing column or value, text where numbers are needed,
        a value outside the levels, an infinite one or a code of a missing one; identifiers, and
        levels that tell of single people.
    """
    frame = pd.DataFrame(index=pd.RangeIndex(len(people)))
    kinds: dict[str, Sort] = {}
    for name, request in requests.items():
        refuse_identifier(name, "covariate", place=place)
        if name not in columns:
            raise place.error(
                f"The covariate '{name}' is not a column.",
                do=nearest(name, columns)
                or f"The columns are: {listed(columns, at_most=12)}. Add it, or leave it out of "
                "the study.",
                column=name,
            )
        column = _Column(name, columns[name], people, place)
        kinds[name] = request.spline or column.kind(request)
        if kinds[name] != "categorical":
            frame[name] = column.numbers()
        else:
            frame[name] = pd.Series(column.levels(request), dtype="str", index=frame.index)
    return frame, kinds


class _Column:
    """One column of covariates; cells are None (missing), float or str."""

    def __init__(
        self, name: str, values: pd.Series[Any], people: Sequence[str], place: Place
    ) -> None:
        self.name, self.people, self.place = name, people, place
        self.raw: list[Any] = [
            None if is_absent(value) else value for value in values.astype(object).tolist()
        ]
        missing = [people[i] for i, value in enumerate(self.raw) if value is None]
        if missing:
            raise place.error(
                f"'{name}' has no value for {listed(missing)}.",
                do="Fill it in, or take these people out of both files: a covariate must be "
                "known for everybody.",
                column=name,
                person=missing[0],
            )
        self.parsed = [_parsed(value) for value in self.raw]
        for i, value in enumerate(self.parsed):
            if value in (np.inf, -np.inf):
                raise place.error(
                    "The value is infinite.", do="Correct it.", column=name, person=people[i]
                )

    def kind(self, request: CovariateRequest) -> Kind:
        if request.kind != "auto":
            return request.kind
        if request.levels:
            return "categorical"
        found = {value for value in self.parsed if value is not None}
        words = {
            str(raw) for raw, value in zip(self.raw, self.parsed, strict=True) if value is None
        }
        if words and len(found) > MANY_NUMBERS and len(words) * 10 <= len(found):
            others = sum(value is not None for value in self.parsed)
            raise self._text_error(f" The other {others} values are numbers.")
        return "categorical" if words else "continuous"

    def numbers(self) -> NDArray[np.float64]:
        if any(value is None for value in self.parsed):
            raise self._text_error("")
        values = np.array(self.parsed, dtype=np.float64)
        rows = missing_codes(values)
        if len(rows):
            who = [self.people[i] for i in rows]
            raise self.place.error(
                f"The value of {listed(who)} is {values[rows[0]]:.12g}, which stands for a missing "
                f"value in many tables; {usual(values)}.",
                do="Find the value, or take the person out of both files: a covariate must be "
                "known for everybody.",
                column=self.name,
                person=who[0],
            )
        return values

    def levels(self, request: CovariateRequest) -> list[str]:
        found = [level(value) for value in self.raw]
        for i, value in enumerate(found):
            if request.levels and value not in request.levels:
                raise self.place.error(
                    f"'{value}' is not one of the levels {listed(request.levels)}.",
                    do=nearest(value, request.levels)
                    or "Correct the value: the study has these levels only.",
                    column=self.name,
                    person=self.people[i],
                )
        # People, not rows: a second session does not make a note a category. Levels that the study
        # lists are looked at, too: a list of all ages would have everybody's told.
        of_person = dict(zip(self.people, found, strict=True))
        refuse_telling(
            list(of_person.values()),
            self.name,
            "covariate",
            do="Write numbers with decimal points, or leave it out.",
            place=self.place,
        )
        return found

    def _text_error(self, more: str) -> Exception:
        i = next(i for i, value in enumerate(self.parsed) if value is None)
        return self.place.error(
            f"'{self.raw[i]}' is not a number.{more}",
            do=_almost(str(self.raw[i]))
            or "Correct it, or say that the covariate is categorical: "
            f"covariates: {{{self.name}: categorical}}.",
            column=self.name,
            person=self.people[i],
        )


def _almost(text: str) -> str:
    """How a number is to be written that was written as people do: 34,5 or 25y."""
    found = re.fullmatch(
        r"([+-]?[0-9]+)(?:([.,])([0-9]+))?\s*(y|yrs?|years?|)", text, re.IGNORECASE
    )
    if found is None:
        return ""
    whole, mark, fraction, unit = found.groups()
    if mark == "," and len(fraction) == 3:
        return f"Write it with a decimal point, {whole}.{fraction}, or as {whole}{fraction}."
    written = f"{whole}.{fraction}" if fraction else whole
    return f"Write {'the number alone' if unit else 'it with a decimal point'}: {written}."


def is_absent(value: object) -> bool:
    """Whether a cell or value in memory says that it is missing."""
    if isinstance(value, str):
        return is_missing(value)
    return value is None or value is pd.NA or bool(value != value)


def _parsed(value: object) -> float | None:
    if isinstance(value, str):
        return number(value)
    if isinstance(value, bool | np.bool_):
        return None
    return float(value) if isinstance(value, int | float | np.number) else None


def describe(
    frame: pd.DataFrame, kinds: Mapping[str, Sort], batch: NDArray[Any]
) -> tuple[SiteCovariate, ...]:
    """Return the public description of covariates, (n, covariates), given batches, (n,)."""
    members = [np.flatnonzero(batch == name) for name in sorted(set(batch.tolist()))]
    described = []
    for name, kind in kinds.items():
        values: list[Hashable] = frame[name].tolist()
        described.append(
            SiteCovariate(
                name=name,
                kind="continuous" if isinstance(kind, Spline) else kind,
                levels=tuple(sorted({str(v) for v in values})) if kind == "categorical" else (),
                varies=any(len({values[i] for i in index}) > 1 for index in members),
                spline=kind if isinstance(kind, Spline) else None,
            )
        )
    return tuple(described)

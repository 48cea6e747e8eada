"""A pooled table as text, and which of its columns is what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from motet.bids.checks import Place, repeated
from motet.bids.covariates import level
from motet.bids.features import PERSON, SESSION
from motet.bids.labels import folder_names
from motet.bids.tsv import TextTable, is_missing, number, opened, read_text
from motet.errors import listed, nearest

BATCH, ORIGINAL = "scanner", "source_id"
WHOLE = re.compile(r"-?[0-9]+")
FEW = 6
"""So many different whole numbers may be codes."""


def read_pooled(path: Path) -> TextTable:
    """Read a CSV or TSV; the suffix, then the first line, says what separates the cells."""
    place = Place(file=path)
    if path.is_dir():
        raise place.error("This is a folder, not a table.")
    with opened(path, place) as stream:
        first = stream.readline()
    separator = "\t" if ".tsv" in path.suffixes else ","
    if separator not in first:
        separator = next((mark for mark in "\t,;" if mark in first), separator)
    text = read_text(path, place=place, separator=separator)
    if not text.rows:
        raise place.error("There are no people in it: it has no rows.")
    twice = repeated([name for name in text.header if name])
    if twice:
        raise place.error(
            f"The column(s) {listed(twice)} occur more than once.", do="Rename or remove one."
        )
    return text


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Which column is what."""

    by: str
    id: str
    covariates: tuple[str, ...]
    session: str | None
    batch: str | None
    drop: tuple[str, ...]

    @property
    def used(self) -> set[str]:
        """Names of all columns that have a role, so are neither features nor text."""
        named = {self.by, self.id, *self.covariates, *self.drop}
        return named | {name for name in (self.session, self.batch) if name is not None}

    def check(self, text: TextTable) -> None:
        """Refuse unknown columns, and columns that would collide with those written."""
        twice = repeated(self.covariates)
        if twice:
            raise text.place.error(f"The covariate '{twice[0]}' is listed twice.", column=twice[0])
        for name in (self.by, self.id, *self.covariates, self.session, self.batch, *self.drop):
            if name is not None:
                text.position(name)
        written = {PERSON: self.id, SESSION: self.session, BATCH: self.batch, ORIGINAL: None}
        for name, origin in written.items():
            kept = name not in self.used or name in self.covariates
            if name in text.header and kept and name != origin:
                raise text.place.error(
                    f"The table has a column '{name}', a name that the site folders use for "
                    "something else.",
                    do=f"Rename it, or leave it out with --drop {name}.",
                    column=name,
                )


def of_sites(text: TextTable, roles: Roles, sites: Sequence[str]) -> tuple[TextTable, list[str]]:
    """Return the rows of the chosen sites, and the folder name of each row's site."""
    found = [level(cell) for cell in text.column(roles.by)]
    for i, name in enumerate(found):
        if is_missing(name):
            raise text.place.error(
                f"Row {i + 1} below the header has no site.",
                do="Fill it in, or remove the row.",
                column=roles.by,
                person=text.rows[i][text.position(roles.id)],
            )
    folders = folder_names(found, column=roles.by, place=text.place)
    known = dict(zip(found, folders, strict=True))
    wanted = {level(name) for name in sites} or set(found)
    unknown = sorted(wanted - set(known) - set(folders))
    if unknown:
        raise text.place.error(
            f"There is no site '{unknown[0]}'.",
            do=nearest(unknown[0], known) or f"The sites are: {listed(sorted(known))}.",
            column=roles.by,
        )
    rows = [i for i, name in enumerate(found) if name in wanted or known[name] in wanted]
    kept = TextTable(header=text.header, rows=[text.rows[i] for i in rows], place=text.place)
    return kept, [folders[i] for i in rows]


def sorted_columns(
    text: TextTable, roles: Roles, patterns: Sequence[str], people: Sequence[str]
) -> tuple[list[str], list[str], list[str]]:
    """Sort the columns without a role into features, text, and those left out.

    Returns
    -------
    features, words, dropped : list of str
        In the order of the table. A column is a feature where every cell is a number or missing
        and, when there are `patterns`, one of them matches.
    """
    rest = [name for name in text.header if name and name not in roles.used]
    asked = _matching(rest, patterns, text.place) if patterns else set(rest)
    features: list[str] = []
    words: list[str] = []
    dropped = list(roles.drop)
    if "" in text.header:
        dropped.append("(without a name)")
    for name in rest:
        cells = text.column(name)
        row = _first_text(cells)
        if row is not None and patterns and name in asked:
            raise text.place.error(
                f"'{cells[row]}' is not a number.",
                do="Correct it, write n/a, or choose other features.",
                person=people[row],
                feature=name,
            )
        if row is not None and _mostly_numbers(cells):
            comma = "," in cells[row]
            hint = "Write decimal points for decimal commas" if comma else "Correct it"
            raise text.place.error(
                f"'{cells[row]}' is not a number, and most of '{name}' are.",
                do=f"{hint}, or leave the column out with --drop '{name}'.",
                person=people[row],
                column=name,
            )
        if row is not None:
            words.append(name)
        elif name in asked and not all(map(is_missing, cells)):
            _check_finite(cells, name, people, text.place)
            features.append(name)
        else:
            dropped.append(name)
    if not features:
        raise text.place.error(
            "No column of numbers is left to be a feature.",
            do=f"Columns of text are: {listed(words)}." if words else "",
        )
    return features, words, dropped


def _mostly_numbers(cells: Sequence[str]) -> bool:
    """Whether a column of text was meant as numbers: decimal commas, or a few slips."""
    given = [cell.replace(",", ".", 1) for cell in cells if not is_missing(cell)]
    numbers = [number(cell) for cell in given]
    return 2 * sum(value is not None for value in numbers) > len(given)


def identifiers(text: TextTable, features: Sequence[str]) -> tuple[str, ...]:
    """Features of whole numbers that differ for everybody: more likely identifiers."""
    found = []
    for name in features:
        cells = [cell for cell in text.column(name) if not is_missing(cell)]
        whole = all(re.fullmatch(r"[0-9]+(\.0+)?", cell) for cell in cells)
        if whole and len(set(cells)) == len(cells) > 2:
            found.append(name)
    return tuple(found)


def no_measures(
    text: TextTable, features: Sequence[str], sites: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Features that are more likely something else.

    Parameters
    ----------
    text : TextTable
    features : sequence of str
    sites : sequence of str
        Of every row.

    Returns
    -------
    of_the_site : tuple of str
        One number of all people of a site, another elsewhere.
    codes : tuple of str
        A few whole numbers.
    """
    of_the_site, codes = [], []
    people = Counter(sites)
    for name in features:
        found = _few_by_site(text.column(name), sites)
        every = set().union(*found.values())
        if len(every) < 2:
            continue
        alone = all(len(values) == 1 for values in found.values())
        if alone and any(people[site] > 1 for site in found):
            of_the_site.append(name)
        elif len(every) <= FEW < len(sites) / 2 and all(WHOLE.fullmatch(v) for v in every):
            codes.append(name)
    return tuple(of_the_site), tuple(codes)


def _few_by_site(cells: Sequence[str], sites: Sequence[str]) -> dict[str, set[str]]:
    """Site -> values there; nothing of a column that has many: measures end it at once."""
    found: dict[str, set[str]] = {}
    known: dict[str, str] = {}
    for cell, site in zip(cells, sites, strict=True):
        value = known.get(cell)
        if value is None:
            if is_missing(cell):
                continue
            value = known[cell] = level(cell)
        values = found.setdefault(site, set())
        values.add(value)
        if len(values) > FEW:
            return {}
    return found


def _matching(rest: Sequence[str], patterns: Sequence[str], place: Place) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        # A name may hold the signs of a pattern ('[', '*'), so it also stands for itself.
        hits = {name for name in rest if name == pattern or fnmatchcase(name, pattern)}
        if not hits:
            raise place.error(
                f"No column matches the feature pattern '{pattern}' (columns with another role "
                "do not count).",
                do=nearest(pattern.strip("*"), rest),
            )
        found |= hits
    return found


def _first_text(cells: Sequence[str]) -> int | None:
    return next(
        (i for i, cell in enumerate(cells) if number(cell) is None and not is_missing(cell)), None
    )


def _check_finite(cells: Sequence[str], name: str, people: Sequence[str], place: Place) -> None:
    for who, cell in zip(people, cells, strict=True):
        if number(cell) in (float("inf"), float("-inf")):
            raise place.error(
                f"The value is infinite ({cell}).",
                do=f"Correct it, write n/a, or leave the column out with --drop '{name}'.",
                person=who,
                feature=name,
            )


def varying(
    columns: Mapping[str, Sequence[str]],
    persons: Sequence[tuple[str, str]],
    place: Place,
    *,
    may_vary: Sequence[str],
) -> list[str]:
    """Return the columns of `may_vary` that differ between rows of a person; refuse others.

    participants.tsv has one row a person, so nothing in it can depend on the session.
    """
    found = []
    for name, cells in columns.items():
        seen: dict[tuple[str, str], str] = {}
        for person, cell in zip(persons, cells, strict=True):
            if seen.setdefault(person, cell) == cell:
                continue
            if name not in may_vary:
                raise place.error(
                    f"'{name}' is '{seen[person]}' in one session and '{cell}' in another; "
                    "participants.tsv has one row a person.",
                    do="Make it the same in all rows of the person (e.g. the age at the first "
                    "session), or give each session its own id.",
                    column=name,
                    person=person[1],
                )
            found.append(name)
            break
    return found

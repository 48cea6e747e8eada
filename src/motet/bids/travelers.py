"""Who of a site's people is known to other sites, and by which key: ``travelers.tsv``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from motet.bids.checks import Place
from motet.bids.tsv import is_missing, read_text
from motet.errors import listed

FILE = "travelers.tsv"
NO = ("no", "false", "0", "none")
YES = ("yes", "true", "1")


@dataclass(frozen=True, kw_only=True)
class Travelers:
    """Who of a site's people is known to others.

    Attributes
    ----------
    people : mapping of str to str
        Traveler, by a key that sites agreed on -> participant_id here.
    consented : frozenset of str
        Keys of those who agreed that something of their own leaves the site.
    """

    people: Mapping[str, str] = field(default_factory=dict)
    consented: frozenset[str] = frozenset()


def read_travelers(folder: Path, people: Collection[str], *, site: str) -> Travelers:
    """Read ``travelers.tsv`` beside a site's participants.tsv, empty where there is none.

    Columns ``traveler_id`` and ``participant_id``, one row a traveler of this site; optionally
    ``consent``: when the person agreed that something of their own leaves the site.

    Returns
    -------
    Travelers

    Raises
    ------
    DataError
        A column is missing, an id is empty or given twice, nobody here is called so, or a consent
        is neither a date nor ``yes`` nor ``no``.
    """
    if not (folder / FILE).is_file():
        return Travelers()
    place = Place(site=site, file=folder / FILE)
    text = read_text(folder / FILE, place=place)
    travelers, own = text.column("traveler_id"), text.column("participant_id")
    for name, cells in (("traveler_id", travelers), ("participant_id", own)):
        if any(map(is_missing, cells)):
            raise place.error("An id is missing.", do="Give every row both ids.", column=name)
        twice = sorted({cell for cell in cells if cells.count(cell) > 1})
        if twice:
            raise place.error(
                f"{listed(twice)} is given twice.",
                do="A traveler is one participant of this site; sessions need no rows.",
                column=name,
            )
    unknown = sorted(set(own) - set(people))
    if unknown:
        raise place.error(
            f"{listed(unknown)} is no participant of this site.",
            do="Write participant_id as in participants.tsv.",
            column="participant_id",
            person=unknown[0],
        )
    said = text.column("consent") if "consent" in text.header else [""] * len(own)
    agreed = {
        key
        for key, person, cell in zip(travelers, own, said, strict=True)
        if _agreed(cell, person, place)
    }
    return Travelers(people=dict(zip(travelers, own, strict=True)), consented=frozenset(agreed))


def _agreed(cell: str, person: str, place: Place) -> bool:
    """Whether a cell says that a person agreed."""
    word = cell.strip().lower()
    if is_missing(cell) or word in NO:
        return False
    if word in YES:
        return True
    try:
        date.fromisoformat(word)
    except ValueError:
        raise place.error(
            f"'{cell.strip()}' says neither that the person agreed nor that the person did not.",
            do="Write the date of the consent as YYYY-MM-DD, or yes; without it no, or nothing.",
            column="consent",
            person=person,
        ) from None
    return True

"""Who of a site's people is known to other sites, and by which key: ``travelers.tsv``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from motet.bids.checks import Place
from motet.bids.tsv import is_missing, read_text
from motet.errors import listed

FILE = "travelers.tsv"
NO = ("no", "false", "0", "none")


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
        A column is missing, an id is empty or given twice, or nobody here is called so.
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
        for key, cell in zip(travelers, said, strict=True)
        if not is_missing(cell) and cell.strip().lower() not in NO
    }
    return Travelers(people=dict(zip(travelers, own, strict=True)), consented=frozenset(agreed))

"""Who of a site's people is known to other sites, and by which key: ``travelers.tsv``."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from motet.bids.checks import Place
from motet.bids.tsv import is_missing, read_text
from motet.errors import listed

FILE = "travelers.tsv"


def read_travelers(folder: Path, people: Collection[str], *, site: str) -> dict[str, str]:
    """Read ``travelers.tsv`` beside a site's participants.tsv, empty where there is none.

    Columns ``traveler_id`` and ``participant_id``; one row a traveler of this site.

    Returns
    -------
    dict of str to str
        Traveler, by a key that sites agreed on -> participant_id here.

    Raises
    ------
    DataError
        A column is missing, an id is empty or given twice, or nobody here is called so.
    """
    if not (folder / FILE).is_file():
        return {}
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
    return dict(zip(travelers, own, strict=True))

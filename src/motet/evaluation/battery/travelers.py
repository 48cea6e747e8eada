"""Travelers: people scanned at several sites, and how a study says who they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.bids.table import Table
from motet.bids.tsv import is_missing, read_text
from motet.errors import listed

FILE = "travelers.tsv"
Link = Mapping[str, str]
"""participant_id at one site -> the traveler's name, the same at all sites."""


def read_travelers(table: Table) -> dict[str, str]:
    """Read ``travelers.tsv`` beside a site's participants.tsv, empty where there is none.

    Columns ``traveler_id`` and ``participant_id``; one row a traveler of this site.

    Raises
    ------
    DataError
        A column is missing, an id is empty or given twice, or nobody here is called so.
    """
    if table.source is None or not (table.source / FILE).is_file():
        return {}
    place = Place(site=table.site, file=table.source / FILE)
    text = read_text(table.source / FILE, place=place)
    travelers, people = text.column("traveler_id"), text.column("participant_id")
    known = set(table.people.tolist())
    for name, cells in (("traveler_id", travelers), ("participant_id", people)):
        if any(map(is_missing, cells)):
            raise place.error("An id is missing.", do="Give every row both ids.", column=name)
        twice = sorted({cell for cell in cells if cells.count(cell) > 1})
        if twice:
            raise place.error(
                f"{listed(twice)} is given twice.",
                do="A traveler is one participant of this site; sessions need no rows.",
                column=name,
            )
    unknown = sorted(set(people) - known)
    if unknown:
        raise place.error(
            f"{listed(unknown)} is no participant of this site.",
            do="Write participant_id as in participants.tsv.",
            column="participant_id",
            person=unknown[0],
        )
    return dict(zip(people, travelers, strict=True))


def same_people(
    names: NDArray[Any], sites: NDArray[Any], links: Mapping[str, Link]
) -> Sequence[str]:
    """Who each row is, (n,): the traveler where one is named, else the participant.

    One ``participant_id`` is one person at whichever site, as for the draw of who is held out.
    """
    return [
        f"traveler {links[site][name]}" if name in links.get(site, {}) else name
        for name, site in zip(names.tolist(), sites.tolist(), strict=True)
    ]

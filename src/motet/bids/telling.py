"""Which columns may become public: batches and levels are told to everybody in a study.

The coordinator names the columns, so a site has to see for itself that what it tells are the
categories of many people and not identifiers, notes or exact ages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from motet.bids.checks import Place

IDENTIFIERS = ("participant_id", "session_id", "source_id")
"""Columns that say who somebody is; 'motet split' keeps the names of its input in source_id."""
FEW = 3
"""So many levels may belong to one person each: a scanner or a diagnosis can be that rare."""
MANY = 10
"""More levels than this for half as many people again are no categories either."""


def refuse_identifier(column: str, role: str, *, place: Place) -> None:
    """Refuse a column of identifiers as a covariate or batch, whatever is in it."""
    if column.strip().lower() in IDENTIFIERS:
        raise place.error(
            f"'{column}' says who somebody is: it cannot be a {role}.",
            do="Take it out of the study.",
            column=column,
        )


def refuse_telling(levels: Sequence[str], column: str, role: str, *, do: str, place: Place) -> None:
    """Refuse levels that tell of single people.

    These are levels of which more than three, and more than half of all, belong to one person
    each; or more than ten levels among fewer than twice as many people.

    Parameters
    ----------
    levels : (n,) sequence of str
        One a person.
    column : str
    role : {"covariate", "batch"}
    do : str
        What the reader can do, beside leaving the column out of the study.
    place : Place

    Raises
    ------
    DataError
        Names the column. It quotes no value.
    """
    people = Counter(levels)
    alone = sum(count == 1 for count in people.values())
    if (alone > FEW and 2 * alone > len(people)) or (
        len(people) > MANY and 2 * len(people) > len(levels)
    ):
        raise place.error(
            f"'{column}' has {len(people)} levels for {len(levels)} people, {alone} of them of one "
            f"person each: more like identifiers, notes or numbers than categories, and the "
            f"levels of a {role} are told to everybody.",
            do=do,
            column=column,
        )

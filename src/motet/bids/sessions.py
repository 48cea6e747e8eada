"""Scanners of single sessions: ``sub-<label>/sub-<label>_sessions.tsv``, where BIDS has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from motet.bids.checks import Place
from motet.bids.covariates import level
from motet.bids.tsv import is_missing, read_text
from motet.errors import listed

Visits = Mapping[str, Mapping[str, str]]
"""participant_id -> session, without ``ses-`` -> batch."""


def read_visits(folder: Path, people: Sequence[str], column: str, *, site: str) -> Visits:
    """Read the batch of every session of people who were scanned in several.

    Columns ``session_id`` and the study's batch column; a file without that column says nothing
    here, as does one that is not there: then a person's batch is the one of participants.tsv.

    Raises
    ------
    DataError
        A session is listed twice, or has no batch while others of the person have one.
    """
    found: dict[str, dict[str, str]] = {}
    for person in people:
        label = person.removeprefix("sub-")
        file = folder / f"sub-{label}" / f"sub-{label}_sessions.tsv"
        if not file.is_file():
            continue
        place = Place(site=site, file=file)
        text = read_text(file, place=place)
        if column not in text.header:
            continue
        sessions = [label_of(session) for session in text.column("session_id")]
        batches = [level(cell) for cell in text.column(column)]
        if twice := sorted({s for s in sessions if sessions.count(s) > 1}):
            raise place.error(f"The session {listed(twice)} is listed twice.", person=person)
        if unknown := [s for s, b in zip(sessions, batches, strict=True) if is_missing(b)]:
            raise place.error(
                f"The batch of session {listed(unknown)} is not known.",
                do="Fill it in, or take these sessions out, with their images.",
                column=column,
                person=person,
            )
        found[person] = dict(zip(sessions, batches, strict=True))
    return found


def label_of(session: str) -> str:
    """A session's label: ``ses-a`` and ``a`` are one."""
    return session.strip().removeprefix("ses-")

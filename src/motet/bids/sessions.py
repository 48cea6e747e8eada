"""Scanners of single sessions: ``sub-<label>/sub-<label>_sessions.tsv``, where BIDS has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from motet.bids.checks import Place
from motet.bids.covariates import level
from motet.bids.telling import MANY, refuse_telling
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
        A session is listed twice, or has no batch while others of the person have one; or batches
        are more like dates or notes, which would be told to everybody.
    """
    found: dict[str, dict[str, str]] = {}
    for person in people:
        file = folder / file_of(person)
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
    _refuse_telling(found, column, place=Place(site=site, file=folder / "sub-*/sub-*_sessions.tsv"))
    return found


def batch_of(visits: Visits, person: str, session: str, *, otherwise: str, site: str) -> str:
    """The batch of a person's session; `otherwise` where nothing is said of this one's sessions.

    Raises
    ------
    DataError
        When the person's sessions have batches, and this one is not among them: whose scanner it
        was nobody knows, and another session's may be another.
    """
    if person not in visits:
        return otherwise
    batch = visits[person].get(label_of(session))
    if batch is None:
        which = f"session {label_of(session)}" if session else "images or rows without a session"
        raise Place(site=site, file=file_of(person)).error(
            f"The batch of {which} is not listed, and those of other sessions are.",
            do="Add the session to the file, or take its data out.",
            person=person,
        )
    return batch


def _refuse_telling(visits: Visits, column: str, *, place: Place) -> None:
    """Refuse what participants.tsv would be refused for; a few travelers may have many scanners."""
    batches = [batch for own in visits.values() for batch in set(own.values())]
    if len(set(batches)) > MANY:
        refuse_telling(
            batches,
            column,
            "batch",
            do="Give sessions on the same scanner one batch, or change 'batch' in the study file.",
            place=place,
        )


def file_of(person: str) -> Path:
    """Where the sessions of a person are listed, within a folder."""
    name = f"sub-{person.removeprefix('sub-')}"
    return Path(name) / f"{name}_sessions.tsv"


def label_of(session: str) -> str:
    """A session's label: ``ses-a`` and ``a`` are one."""
    return session.strip().removeprefix("ses-")

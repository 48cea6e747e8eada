"""Who took part, who is missing and why, and what the study kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from motet.errors import MotetError
from motet.harmonizer import Sharing
from motet.report.installed import installed
from motet.report.read import StudyFiles
from motet.report.words import joined
from motet.schema import Batch, Schema, read_covariates

CODES = {
    "timeout": "did not answer in time",
    "site-app": "could not be reached: its process ended or refused the message",
    "site-name": "gave a name that cannot be used, or that another site has",
    "stale": "answered to an earlier message",
    "invalid-reply": "sent arrays that are not those the plan declares",
    "unknown": "failed with a code that this version does not know",
    "site-failed": "failed for a reason that stays in its own log",
    "data": "could not read its files as the study needs them",
    "schema": "described data that do not fit those of the others",
    "design": "has covariates that cannot be told from its scanners",
    "plan": "made another plan of the study: another version of the software",
    "release-refused": "refused to send what the plan does not declare",
    "protocol": "sent a message that does not belong to this run",
    "study-file": "does not know a part of the study file: another version of the software",
    "unknown-method": "does not have the method",
    "model": "had a model folder that could not be used",
    "output-folder": "could not write its results",
    "error": "stopped with an error",
}
"""Codes of errors in words; the sentences themselves never leave a site."""


@dataclass(frozen=True, kw_only=True)
class Participant:
    """A batch that took part, or a site that did not."""

    site: str
    batch: str
    role: str
    fit: str
    held_out: str


def twins(study: StudyFiles) -> Mapping[Batch, Batch]:
    """Batches that are another site's scanner; none of a method that is not installed here."""
    here = installed(study)
    if here is None or not isinstance(here[0], Sharing):
        return {}
    try:
        return here[0].twins(here[1], Schema.from_json(study.plan["schema"]))
    except MotetError:
        return {}


def scanners(study: StudyFiles) -> int:
    """How many scanners or protocols the fit is of."""
    fitted = {Batch(str(b["site"]), str(b["batch"])) for b in study.fitted}
    return len(fitted - set(twins(study)))


def participants(study: StudyFiles) -> tuple[Participant, ...]:
    """All batches, those of the fit first."""
    of = twins(study)
    learned = {other: at for at, other in of.items()}

    def role(row: Mapping[str, Any]) -> str:
        batch = Batch(str(row["site"]), str(row["batch"]))
        if row.get("role") == "unseen":
            return "unseen: harmonized with the finished model"
        if batch in of:
            return f"in the fit: scans on the scanner of {of[batch]}"
        if batch in learned:
            return f"in the fit by its scans at {learned[batch].site}"
        return "in the fit"

    rows = sorted(
        study.batches, key=lambda b: (b.get("role") == "unseen", str(b["site"]), str(b["batch"]))
    )
    return tuple(
        Participant(
            site=str(row["site"]),
            batch=str(row["batch"]),
            role=role(row),
            fit=_counted(row, "fit"),
            held_out=_counted(row, "held_out"),
        )
        for row in rows
    )


def _counted(row: Mapping[str, Any], key: str) -> str:
    """A count, or a dash where no sum released it."""
    return "–" if row.get(key) is None else str(int(row[key]))


def totals(study: StudyFiles) -> tuple[str, str]:
    """People in the fit and held out over all batches; a dash where a count is not known."""
    both = []
    for key in ("fit", "held_out"):
        counts = [row.get(key) for row in study.batches]
        known = [int(n) for n in counts if n is not None]
        both.append(str(sum(known)) if known and len(known) == len(counts) else "–")
    if both[0] == "–" and study.people is not None:
        both[0] = str(study.people)
    return both[0], both[1]


def missing(study: StudyFiles) -> tuple[tuple[str, str, str], ...]:
    """(site, code, what the code means) of every site that did not make it."""
    return tuple(
        (site, code, CODES.get(code, "is missing for a reason that only its own log tells"))
        for site, code in sorted(study.missing.items())
    )


def covariates_in_words(study: StudyFiles) -> str:
    """``age and sex``; empty where none is kept."""
    return joined([str(c["name"]) for c in study.plan["schema"]["covariates"]])


def covariates_in_full(study: StudyFiles) -> str:
    """``age (continuous) and sex (F, M)``."""
    return joined(list(map(str, read_covariates(study.plan["schema"]["covariates"]))))

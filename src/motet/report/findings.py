"""What a method says of its shared model, as a section of the study report."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from motet.harmonizer import Findings, Profile, findings_of
from motet.report.figures.canvas import shown
from motet.report.figures.profiles import profile
from motet.report.installed import installed
from motet.report.read import StudyFiles
from motet.report.words import number
from motet.schema import Schema


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers of every target, a row each."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """What is shown."""

    title: str
    facts: tuple[tuple[str, str], ...]
    figures: tuple[Markup, ...]
    tables: tuple[Table, ...]


def told(study: StudyFiles) -> Findings | None:
    """What the method says; None of one that has no more to say, or is not installed here."""
    here = installed(study)
    if here is None or not study.shared:
        return None
    return findings_of(*here, Schema.from_json(study.plan["schema"]), study.shared)


def findings(study: StudyFiles) -> Section | None:
    """The section; None where there is nothing to say."""
    found = told(study)
    if found is None:
        return None
    return Section(
        title=found.title,
        facts=found.facts,
        figures=shown(profile(one, name=f"profile-{k}") for k, one in enumerate(found.curves)),
        tables=tuple(map(_table, (*found.curves, *found.tables))),
    )


def _table(found: Profile) -> Table:
    return Table(
        caption=found.title,
        header=("", *found.columns),
        rows=tuple(
            (name, *(number(float(value)) for value in values))
            for name, values in found.values.items()
        ),
    )

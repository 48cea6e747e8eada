"""The study report: made only from declared releases and public facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from motet.errors import ModelError, UnknownMethodError
from motet.evaluation.result import VERSIONS
from motet.harmonizer import Card
from motet.registry import methods
from motet.report import (
    comparison,
    leaving,
    limits,
    methods_text,
    participation,
    provenance,
    training,
)
from motet.report.findings import findings
from motet.report.page import LARGEST, render, write_page
from motet.report.privacy import privacy
from motet.report.read import StudyFiles, read_study
from motet.report.site_pages import site_pages_of
from motet.report.study_figures import study_figures
from motet.report.summary import summary
from motet.report.tiles import tiles
from motet.report.worst import worst_features
from motet.training.log import cautions
from motet.version import __version__


def write(folder: Path, *, site_pages: Literal["shown", "left out"]) -> Path:
    """Write ``report.html``; see :func:`motet.report.write_study_report`."""
    study = read_study(folder)
    if site_pages == "shown" and not study.simulated:
        raise ModelError(
            "The pages of the sites stay at the sites: only a simulation, where all data are one "
            "person's, can show them in the study report.",
            do="Leave the site pages out.",
            file=folder,
        )
    context = _context(study)
    text = render("study.html", site_pages=(), site_pages_said="", **context)
    if site_pages == "shown":
        pages = site_pages_of(folder, study.sites, room=LARGEST - len(text.encode()) - 50_000)
        text = render("study.html", site_pages=pages.shown, site_pages_said=pages.said, **context)
    return write_page(folder / "report.html", text)


def _context(study: StudyFiles) -> dict[str, Any]:
    card = _card(str(study.plan["method"]))
    title = card.title if card else str(study.plan["method"])
    return {
        "study": study,
        "method_title": title,
        "card": card,
        "motet": __version__,
        "summary": summary(study, title),
        "tiles": tiles(study),
        "participants": participation.participants(study),
        "totals": participation.totals(study),
        "missing": participation.missing(study),
        "leaving": leaving.leaving(study),
        "privacy": privacy(study),
        "tables": tuple(_tables(study)),
        "meaning": tuple(
            (v, comparison.NAMES[v], comparison.meaning(v, private="privacy" in study.plan))
            for v in VERSIONS
            if any(v in comparison.versions_of(j) for j in study.judgements.values())
        ),
        "figures": study_figures(study),
        "trainings": training.trainings(study),
        "findings": findings(study),
        "fitted": study.axis,
        "worst": worst_features(study),
        "general": _general(study),
        "warnings": _warnings(study),
        "limits": limits.limits(study, card),
        "methods": methods_text.methods_text(study, card),
        "provenance": provenance.provenance(study),
        "shared": provenance.shared_arrays(study),
    }


def _card(method: str) -> Card | None:
    """The method's card; None where a study of another installation is read."""
    try:
        return methods().get(method).card
    except UnknownMethodError:
        return None


def _tables(study: StudyFiles) -> Iterator[dict[str, Any]]:
    """The comparison of every judgement, the fuller first."""
    for source, judged in study.judgements.items():
        yield {
            "source": source,
            "judged": judged,
            "versions": [(v, comparison.NAMES[v]) for v in comparison.versions_of(judged)],
            "groups": comparison.comparison(judged),
        }


def _general(study: StudyFiles) -> tuple[str, ...]:
    """Warnings of the study itself; those of a training are a deployed study's, too."""
    said = [sentence for site, sentence in study.warnings if not site]
    return tuple(dict.fromkeys([*cautions(study.training, study.plan["params"]), *said]))


def _warnings(study: StudyFiles) -> tuple[tuple[str, int], ...]:
    """How many warnings each site gave itself: their words are the site's and stay with it."""
    return tuple(sorted(Counter(site for site, _ in study.warnings if site).items()))

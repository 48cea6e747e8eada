"""What the numbers of a report cannot say, said plainly."""

from __future__ import annotations

from collections.abc import Iterator

from motet.evaluation.result import Judgement
from motet.harmonizer import Card
from motet.report.read import StudyFiles
from motet.report.verdict import told_by_covariates
from motet.report.words import count, joined

FEW = 100
"""Rows judged below which a reader is told that they are few."""

TINY = (
    "The networks are of the preset tiny, which is for tests: they have learned nothing, and what "
    "comes out may be the same for everybody, which no probe can tell apart. Take preset small."
)
SUM_OF_FEW = 10
"""People of a batch in the fit below which its sums come close to single people's values."""


def limits(study: StudyFiles, card: Card | None) -> tuple[str, ...]:
    """Sentences, the gravest first."""
    judged = study.judgement
    found = list(_of_judgement(judged, study)) if judged is not None else []
    if judged is None:
        found.append("Nothing was judged: this report says who took part and what was sent.")
    found += _few(study)
    if study.plan.get("params", {}).get("train", {}).get("preset") == "tiny":
        found.insert(0, TINY)
    if card is not None:
        found += [f"{card.title}: {limit}." for limit in card.limits]
    return tuple(found)


def _few(study: StudyFiles) -> Iterator[str]:
    """Say whose sums are of few people."""
    few = [
        f"{b['site']}/{b['batch']} ({b['fit']})"
        for b in study.batches
        if b.get("fit") is not None and 0 < int(b["fit"]) < SUM_OF_FEW
    ]
    if few:
        yield (
            f"Sums of fewer than {SUM_OF_FEW} people come close to single people's values, and the "
            f"coordinator received them of: {joined(sorted(few))}."
        )


def _of_judgement(judged: Judgement, study: StudyFiles) -> Iterator[str]:
    if not judged.held_out:
        yield (
            "The people judged are those of the fit. A harmonization looks better on them than on "
            "new people: site accuracy can even fall below chance, which is an artefact."
        )
    if judged.n < FEW:
        yield (
            f"{count(judged.n, 'row')} {'is' if judged.n == 1 else 'are'} few: intervals and bands "
            "are wide, and a site effect that matters can hide in them."
        )
    if judged.held_out:
        yield (
            f"It is a single split, by seed {study.plan['seed']}; other people held out would give "
            "other numbers, within about the intervals shown."
        )
    if judged.source == "sums":
        yield (
            "All was computed from sums, as hospitals can release them: probes that need everybody "
            "in one place (support vector machines, forests) were not run, and could find more."
        )
        if study.plan["schema"]["covariates"]:
            yield (
                "How well the covariates alone tell the site was not read: the weights of such a "
                "probe would tell every hospital the others' mean age, share of women and the "
                "like. Where people differ between sites, a probe above chance may read these."
            )
    yield (
        "At chance means that these probes and tests find nothing in these features. It does not "
        "show that no trace of the scanner is left."
    )
    if any(told_by_covariates(metric) is not None for metric in judged.metrics):
        yield (
            "The sites' people differ in the covariates: these alone tell the site better than "
            "chance. Since their effects are kept, a probe cannot be expected to fall to chance."
        )
    yield "p values are not corrected for the number of features; shares are to be read as shares."
    if any(m.name.startswith(("r2_", "auc_", "effect_")) for m in judged.metrics):
        yield (
            "That a covariate can still be read does not show that its effect is right: one that "
            "is confounded with scanners is divided between them by the model."
        )

"""The first sentences of a study report, computed from its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from motet.evaluation.result import Judgement, Metric
from motet.images.measures import EACH
from motet.report.comparison import best_probe, figure, value_of
from motet.report.findings import told
from motet.report.leaving import kinds
from motet.report.participation import covariates_in_words, scanners
from motet.report.privacy import learned
from motet.report.read import StudyFiles
from motet.report.verdict import TOO_FEW, told_by_covariates, verdict
from motet.report.words import count, joined, percent
from motet.report.worst import grown

PROBES = {
    "random_forest": "A random forest",
    "rbf_svm": "A support vector machine (RBF)",
    "linear_svm": "A linear support vector machine",
    "lda": "A linear discriminant from sums",
    "slices": "A linear support vector machine on slices of the images",
    "distributions": "A random forest on the images' distributions of intensities",
}
OUTCOMES = {
    "at chance": ", within what chance gives",
    "above chance": ", still more than chance gives",
    "below chance": ", less than chance gives",
    "as covariates": ", more than chance gives",
    "too few people": ", of too few people to say anything",
}
LEFT = "no table of people left a hospital: what left are {what}, listed below"
KINDS = (
    ({"sum", "masked"}, "sums"),
    ({"published"}, "estimates"),
    ({"sealed"}, "estimates sealed for one hospital each"),
    ({"schema"}, "agreements"),
    ({"update"}, "changes of networks"),
    ({"personal"}, "what consenting travelers' own scans show (anatomy or quantiles)"),
)
"""What left, in words, by the classes of the releases."""
UNRECORDED = "sums, estimates and agreements"
NOT_ASKED = "the study's evaluation asks for no metrics"
CLEARLY = 0.05
"""How much better another probe has to be to be mentioned."""


def summary(study: StudyFiles, title: str) -> tuple[str, ...]:
    """Three to five sentences: who, site effect, biology, and what to be careful about."""
    return tuple(_sentences(study, title))


def _sentences(study: StudyFiles, title: str) -> Iterator[str]:
    yield _who(study, title)
    said = told(study)
    yield from said.remarks if said is not None else ()
    yield from filter(None, (learned(study),))
    judged = study.judgement
    if judged is None:
        lost = [f"{site} ({code})" for site, code in sorted(study.run.get("unjudged", {}).items())]
        why = f"{joined(lost)} took no part to the end" if lost else NOT_ASKED
        yield f"How well this went was not judged: {why}."
        return
    yield from _site_effect(judged, study.contrasts)
    yield from filter(None, (grown(study),))
    yield from _biology(judged)
    if below := [m for m in judged.metrics if verdict(m, "harmonized").words == "below chance"]:
        names = joined([metric.title[:1].lower() + metric.title[1:] for metric in below[:3]])
        lie = "lies" if len(below) == 1 else "lie"
        who = "people are judged that the fit has seen"
        if judged.held_out:
            who = "a probe learns from people that the fit has seen"
        probes = all(metric.name.startswith("site_accuracy") for metric in below)
        why = f", as happens when {who}" if probes or not judged.held_out else ""
        yield f"Below chance is not success: {names} {lie} lower than chance gives{why}."
    if not judged.held_out:
        yield (
            "These figures are of the people the fit saw, which makes a harmonization look better "
            "than it is; hold people out (evaluation: {held_out: 0.2}) for an honest reading."
        )


def _who(study: StudyFiles, title: str) -> str:
    sites = {str(b["site"]) for b in study.fitted}
    of_whom = f" and {count(study.people, 'row')} of people in the fit" if study.people else ""
    kept = covariates_in_words(study)
    of = count(scanners(study), "scanner or protocol", "scanners or protocols")
    sentence = (
        f"{count(len(sites), 'hospital')} with {of}"
        f"{of_whom} harmonized {_what(study)} with {title}, "
        + (f"keeping {kept}" if kept else "keeping no covariates")
        + f"; {LEFT.format(what=_left(study))}."
    )
    if study.missing:
        lost = joined(sorted(study.missing))
        sentence += f" Missing: {lost}."
    return sentence


def _left(study: StudyFiles) -> str:
    found = kinds(study)
    return joined([words for classes, words in KINDS if classes & found]) or UNRECORDED


def _what(study: StudyFiles) -> str:
    """What was harmonized; images are judged by measures of theirs."""
    if not study.contrasts:
        return count(len(study.features), "feature")
    measures = count(EACH, "measure")
    each = " each" if len(study.contrasts) > 1 else ""
    return f"{joined(study.contrasts)} images (judged by {measures}{each})"


def _site_effect(judged: Judgement, contrasts: Sequence[str]) -> Iterator[str]:
    probe = best_probe(judged)
    if probe is not None:
        yield _probe_sentence(probe, judged)
        yield from _strongest(judged, probe, contrasts)
    if judged.has("anova_share"):
        metric = judged.metric("anova_share")
        before, after = value_of(metric, "raw"), value_of(metric, "harmonized")
        if before is not None and after is not None:
            yield (
                f"Batch means differed in {percent(before)} of features before and in "
                f"{percent(after)} after (chance {percent(metric.chance or 0.05)})"
                f"{_outcome(metric)}."
            )


def _outcome(metric: Metric) -> str:
    """How harmonized values stand to chance; two numbers that read alike are not set apart."""
    band = metric.readings["harmonized"].band
    value = value_of(metric, "harmonized")
    words = verdict(metric, "harmonized").words
    alike = (
        band is not None
        and value is not None
        and figure(metric.name, value) == figure(metric.name, band[1])
    )
    if words == "above chance" and alike:
        return ", just above what chance gives"
    if words == verdict(metric, "raw").words == "at chance":
        return ", both within what chance gives"
    return OUTCOMES.get(words, "")


def _probes(contrasts: Sequence[str]) -> Mapping[str, str]:
    """Probes in words; of two contrasts, those of images of each."""
    if len(contrasts) < 2:
        return PROBES
    first, *others = contrasts
    images = {name: words for name, words in PROBES.items() if "images" in words}
    return {
        **PROBES,
        **{name: f"{words} ({first})" for name, words in images.items()},
        **{f"{name}_{c}": f"{words} ({c})" for c in others for name, words in images.items()},
    }


def _strongest(judged: Judgement, than: Metric, contrasts: Sequence[str]) -> Iterator[str]:
    """Another probe that still tells the site, where it does clearly better than the first."""
    first, probes = value_of(than, "harmonized"), _probes(contrasts)
    found = [
        (value, name)
        for name in probes
        if judged.has(f"site_accuracy_{name}")
        and (value := value_of(judged.metric(f"site_accuracy_{name}"), "harmonized")) is not None
        and verdict(judged.metric(f"site_accuracy_{name}"), "harmonized").words == "above chance"
    ]
    if found and first is not None and max(found)[0] > first + CLEARLY:
        value, name = max(found)
        yield (
            f"The strongest probe, {probes[name][:1].lower()}{probes[name][1:]}, tells it from "
            f"harmonized values in {percent(value)}."
        )


def _probe_sentence(metric: Metric, judged: Judgement) -> str:
    before, after = value_of(metric, "raw"), value_of(metric, "harmonized")
    assert after is not None
    name = metric.name.removeprefix("site_accuracy_")
    whose = "held-out people" if judged.held_out else "these people"
    chance = f" (chance {percent(metric.chance)})" if metric.chance is not None else ""
    outcome = _outcome(metric)
    if before is None:
        told = f" from harmonized values in {percent(after)} of cases{chance}"
    else:
        told = (
            f" from raw values in {percent(before)} of cases{chance}, from harmonized values in "
            f"{percent(after)}"
        )
    return f"{PROBES[name]} told the site of {whose}{told}{outcome}{_demographics(metric)}."


def _demographics(metric: Metric) -> str:
    """What the covariates alone tell of the site, where that is more than nothing."""
    alone = told_by_covariates(metric)
    if alone is None:
        return ""
    return f"; the covariates alone, which are kept on purpose, tell it in {percent(alone)}"


def _biology(judged: Judgement) -> Iterator[str]:
    parts = []
    for metric in judged.metrics:
        kind, _, column = metric.name.partition("_")
        if kind not in ("r2", "auc"):
            continue
        before, after = value_of(metric, "raw"), value_of(metric, "harmonized")
        if before is None or after is None or verdict(metric, "harmonized") == TOO_FEW:
            continue
        unit = "R² " if kind == "r2" else "AUC "
        parts.append(
            f"{column} with {unit}{figure(metric.name, before)} from raw and "
            f"{figure(metric.name, after)} from harmonized values"
        )
    if parts:
        yield f"What should stay: a model read {joined(parts)}."
        return
    if judged.has("covariates_r2"):
        metric = judged.metric("covariates_r2")
        before, after = value_of(metric, "raw"), value_of(metric, "harmonized")
        if before is not None and after is not None:
            yield (
                f"What should stay: the covariates explained {percent(before)} of the variance of "
                f"the median feature before and {percent(after)} after."
            )

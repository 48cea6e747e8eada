"""Site effect and biology, before and after, as the rows of one table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from motet.evaluation.result import VERSIONS, Judgement, Metric
from motet.report.verdict import ALPHA, Mark, verdict
from motet.report.words import fixed, number, percent, significant

NAMES = {
    "raw": "raw",
    "local_only": "local only",
    "pooled": "pooled",
    "combat": "ComBat",
    "harmonized": "harmonized",
    "demographics": "demographics",
}
MEANING = {
    "raw": "as the hospitals measured them",
    "local_only": "every hospital harmonizes alone: what a federation has to beat",
    "pooled": "the same method with everybody's data in one place: the ceiling",
    "combat": "ComBat with the same scanners and covariates, everybody in one place: what networks "
    "have to be better than",
    "harmonized": "what this study gives",
    "demographics": "a probe that sees the covariates alone and no measure",
}
AIMS = {
    "site_effect": ("Is the site effect gone?", "A good harmonization lies at chance, or low."),
    "biology": ("Is biology kept?", "A good harmonization is no worse than raw."),
    "truth": ("How far from the known truth?", "A good harmonization is nearer than raw."),
}
AS_PERCENT = ("site_accuracy_", "invented_effect_share_")
TWO_PLACES = ("r2_", "auc_", "icc_", "effect_", "silhouette", "manova_pillai")
THREE_PLACES = (
    "batch_eta2",
    "covariates_r2",
    "image_ssim",
    "image_ms_ssim",
    "image_dice",
    "image_mae",
    "image_wasserstein",
    "tissue_",
)


def meaning(version: str, *, private: bool) -> str:
    """What a version is; `private` where the study's training was differentially private."""
    quiet = "; trained without noise" if private and version in ("local_only", "pooled") else ""
    return MEANING[version] + quiet


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One reading as text."""

    version: str
    name: str
    value: str = ""
    interval: str = ""
    n: str = ""
    mark: Mark = "none"
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric. ``band`` is what chance gives for the harmonized values.

    Those of the other versions are alike; each mark is judged by the version's own.
    """

    name: str
    title: str
    wanted: str
    chance: str
    band: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The metrics of one aim."""

    title: str
    hint: str
    rows: tuple[Row, ...]


def figure(metric: str, value: float) -> str:
    """A value of a metric as people read it."""
    if is_share(metric):
        return percent(value)
    if metric.endswith("_p"):
        return "< 0.001" if value < 0.001 else number(value, digits=2)
    if metric.startswith(TWO_PLACES):
        return fixed(value)
    return fixed(value, places=3) if metric.startswith(THREE_PLACES) else significant(value)


def is_share(metric: str) -> bool:
    """Whether a metric is read in per cent."""
    return metric.startswith(AS_PERCENT) or metric.endswith("_share")


def versions_of(judgement: Judgement) -> tuple[str, ...]:
    """The versions that any metric reads, in their order."""
    read = {version for metric in judgement.metrics for version in metric.readings}
    return tuple(version for version in VERSIONS if version in read)


def comparison(judgement: Judgement) -> tuple[Group, ...]:
    """The table of a judgement, grouped by aim; every metric is in it."""
    versions = versions_of(judgement)
    return tuple(
        Group(title=title, hint=hint, rows=rows)
        for aim, (title, hint) in AIMS.items()
        if (rows := tuple(_rows(judgement, aim, versions)))
    )


def _rows(judgement: Judgement, aim: str, versions: tuple[str, ...]) -> Iterator[Row]:
    for metric in judgement.metrics:
        if metric.aim == aim:
            yield Row(
                name=metric.name,
                title=metric.title,
                wanted=wanted(metric),
                chance=_chance(metric),
                band=_band(metric),
                cells=tuple(_cell(metric, v, judgement.n) for v in versions),
            )


def wanted(metric: Metric) -> str:
    """Where a good harmonization lies, in a word or two."""
    if metric.name.startswith(("effect_slope_", "effect_kept_")):
        return "near 1"
    if metric.name.endswith("_p"):
        return f"{ALPHA} or more"
    if metric.aim == "biology" and metric.better in ("higher", "lower"):
        return "no lower than raw" if metric.better == "higher" else "no higher than raw"
    return {"chance": "at chance", "lower": "low", "higher": "high", "raw": "as raw"}[metric.better]


def _chance(metric: Metric) -> str:
    return "" if metric.chance is None else figure(metric.name, metric.chance)


def _band(metric: Metric) -> str:
    for version in ("harmonized", "raw"):
        reading = metric.readings.get(version)
        if reading is not None and reading.band is not None:
            return pair(metric.name, reading.band)
    return ""


def _cell(metric: Metric, version: str, n: int) -> Cell:
    reading = metric.readings.get(version)
    if reading is None:
        return Cell(version=version, name=NAMES[version])
    found = verdict(metric, version)
    return Cell(
        version=version,
        name=NAMES[version],
        value="–" if reading.value is None else figure(metric.name, reading.value),
        interval=pair(metric.name, reading.interval),
        n=f"n = {reading.n}" if reading.n not in (0, n) else "",
        mark=found.mark,
        words=found.words,
    )


def pair(metric: str, bounds: tuple[float, float] | None) -> str:
    """``0.28 to 0.36``; per cent once."""
    if bounds is None:
        return ""
    low, high = (figure(metric, bound) for bound in bounds)
    if low.endswith("%") and high.endswith("%"):
        low = low[:-1].rstrip()
    return f"{low} to {high}"


def best_probe(judgement: Judgement) -> Metric | None:
    """The site probe to speak of in a sentence: the strongest that was trained."""
    for name in ("random_forest", "rbf_svm", "linear_svm", "lda"):
        full = f"site_accuracy_{name}"
        if judgement.has(full) and value_of(judgement.metric(full), "harmonized") is not None:
            return judgement.metric(full)
    return None


def value_of(metric: Metric, version: str) -> float | None:
    """The value of a reading; None where there is none."""
    reading = metric.readings.get(version)
    return None if reading is None else reading.value

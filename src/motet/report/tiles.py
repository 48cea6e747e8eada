"""The key figures at the top of a study report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from motet.evaluation.result import Judgement, Metric
from motet.report.comparison import best_probe, figure, value_of
from motet.report.read import StudyFiles
from motet.report.verdict import Mark, verdict


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One figure: what it is, its value, and for a metric the value in raw data and a mark."""

    what: str
    value: str
    was: str = ""
    mark: Mark = "none"
    words: str = ""


SITE_EFFECT = ("anova_share", "batch_eta2")
OF_IMAGES = tuple(
    f"image_{kind}_{of}" for of in ("travelers", "to_truth") for kind in ("ssim", "ssim_in_plane")
)
"""Of images the first of these that there is, of every contrast: measures of them can be better,
and images worse."""
AT_MOST = 6


def tiles(study: StudyFiles) -> tuple[Tile, ...]:
    """Up to six: who took part, then the metrics that matter most."""
    asked = len(study.sites) + len(study.missing)
    hospitals = str(len(study.sites)) + (f" of {asked}" if study.missing else "")
    unseen = len(study.unseen)
    what = f"hospitals took part, {unseen} unseen by the fit" if unseen else "hospitals"
    found = [Tile(what=what, value=hospitals)]
    if study.people is not None:
        found.append(Tile(what="rows of people in the fit", value=str(study.people)))
    if study.judgement is None:
        found.append(Tile(what="features", value=str(len(study.features))))
        return tuple(found)
    found += [_of(metric) for metric in _chosen(study.judgement)]
    return tuple(found[:AT_MOST])


def _chosen(judged: Judgement) -> Iterator[Metric]:
    probe = best_probe(judged)
    if probe is not None:
        yield probe
    for name in SITE_EFFECT[: 1 if probe else 2]:
        if judged.has(name) and value_of(judged.metric(name), "harmonized") is not None:
            yield judged.metric(name)
    images = (name for name in OF_IMAGES if judged.has(name))
    if name := next(images, ""):
        for metric in judged.metrics:
            of_it = metric.name == name or metric.name.startswith(f"{name}_")
            if of_it and value_of(metric, "harmonized") is not None:
                yield metric
    for metric in judged.metrics:
        strong = metric.name.startswith(("r2_", "auc_")) or metric.name == "icc_travelers"
        if strong and value_of(metric, "harmonized") is not None:
            yield metric


def _of(metric: Metric) -> Tile:
    after, before = value_of(metric, "harmonized"), value_of(metric, "raw")
    assert after is not None
    found = verdict(metric, "harmonized")
    chance = ""
    if metric.chance is not None and metric.better == "chance":
        chance = f"; chance {figure(metric.name, metric.chance)}"
    return Tile(
        what=f"{metric.title}{chance}",
        value=figure(metric.name, after),
        was="" if before is None else figure(metric.name, before),
        mark=found.mark,
        words=found.words,
    )

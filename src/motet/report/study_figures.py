"""Which figures a study report has, and in which section."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from motet.evaluation.result import Metric, Reading
from motet.report.figures.distributions import estimate, histogram, p_values
from motet.report.figures.effects import effects
from motet.report.figures.forest import forest
from motet.report.read import StudyFiles
from motet.report.worst import effect_columns

ESTIMATES = {
    "alpha": "Intercepts (alpha)",
    "var_pooled": "Residual variances (var_pooled)",
}
"""Shared estimates that have a title here; any other of one number a feature has its name."""
MOST_ESTIMATES = 4


@dataclass(frozen=True, kw_only=True)
class StudyFigures:
    """Inline SVGs by section; a section without any is empty."""

    site_effect: tuple[Markup, ...]
    biology: tuple[Markup, ...]
    features: tuple[Markup, ...]
    effects: tuple[Markup, ...]
    estimates: tuple[Markup, ...]


def study_figures(study: StudyFiles) -> StudyFigures:
    """Draw all figures of a study."""
    return StudyFigures(
        site_effect=_forests(study, ("site_accuracy_",), from_zero=("site_accuracy_",)),
        biology=_forests(study, ("r2_", "auc_", "icc_")),
        features=_drawn(
            histogram(
                _versions(study, "eta2"),
                title="Variance explained by batch",
                label="partial η²",
                name="eta2",
            ),
            p_values(_versions(study, "anova_p"), title="Differences of batch means", name="anova"),
            p_values(
                _versions(study, "levene_p"), title="Differences of batch variances", name="levene"
            ),
        ),
        effects=_drawn(
            *(
                effects(
                    _known(study, f"raw/effect/{column}"),
                    _known(study, f"harmonized/effect/{column}"),
                    column=column,
                    name=f"effect-{k}",
                )
                for k, column in enumerate(effect_columns(study))
            )
        ),
        estimates=_estimates(study),
    )


def _drawn(*figures: Markup) -> tuple[Markup, ...]:
    return tuple(figure for figure in figures if figure)


def _forests(
    study: StudyFiles, prefixes: tuple[str, ...], *, from_zero: tuple[str, ...] = ()
) -> tuple[Markup, ...]:
    """Metrics of both judgements, each once; those `from_zero` share an axis."""
    metrics: dict[str, Metric] = {}
    for judged in study.judgements.values():
        for metric in judged.metrics:
            if metric.name.startswith(prefixes):
                metrics.setdefault(metric.name, metric)
    common = [m for m in metrics.values() if m.name.startswith(from_zero)] if from_zero else []
    reach = [bound for m in common for reading in m.readings.values() for bound in _bounds(reading)]
    limits = (0.0, min(1.0, 1.06 * max(reach, default=1.0)))
    return _drawn(
        *(
            forest(
                metric,
                name=f"forest-{metric.name}",
                limits=limits if metric in common else None,
            )
            for metric in metrics.values()
        )
    )


def _bounds(reading: Reading) -> tuple[float, ...]:
    value = () if reading.value is None else (reading.value,)
    return (*value, *(reading.interval or ()), *(reading.band or ()))


def _known(study: StudyFiles, name: str) -> NDArray[np.float64]:
    values = study.by_feature(name)
    assert values is not None
    return values


def _versions(study: StudyFiles, name: str) -> dict[str, NDArray[np.float64]]:
    """An array of one entry a feature, before and after."""
    found = {v: study.by_feature(f"{v}/{name}") for v in ("raw", "harmonized")}
    return {version: values for version, values in found.items() if values is not None}


def _estimates(study: StudyFiles) -> tuple[Markup, ...]:
    """Histograms of the shared model's numbers: those of one entry a feature."""
    p = len(study.features)
    names = [
        name
        for name, array in sorted(study.shared.items())
        if array.dtype.kind == "f" and array.shape == (p,)
    ]
    units = sorted(set(study.plan["schema"].get("units") or ()) - {""})
    label = units[0] if len(units) == 1 else "units of the features"
    return _drawn(
        *(
            estimate(
                study.shared[name].astype(np.float64),
                title=ESTIMATES.get(name, name),
                label=f"{label}²" if name.startswith("var") and len(units) == 1 else label,
                name=f"estimate-{name}",
            )
            for name in names[:MOST_ESTIMATES]
        )
    )

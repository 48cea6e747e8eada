"""Which figures a study report has, and in which section."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from motet.evaluation.result import Metric, Reading
from motet.images.measures import EACH, QUANTILES
from motet.report.figures.canvas import shown
from motet.report.figures.distributions import estimate, histogram, p_values
from motet.report.figures.effects import effects
from motet.report.figures.forest import forest
from motet.report.figures.intensities import distributions, scale
from motet.report.read import StudyFiles
from motet.report.worst import effect_columns

ESTIMATES = {
    "alpha": "Intercepts (alpha)",
    "var_pooled": "Residual variances (var_pooled)",
}
"""Shared estimates that have a title here; any other of one number a feature has its name."""
MOST_ESTIMATES = 4
LANDMARKS = (1, *range(10, 100, 10), 99)
"""Percentiles of a scale of eleven marks."""


@dataclass(frozen=True, kw_only=True)
class StudyFigures:
    """Inline SVGs by section; a section without any is empty."""

    site_effect: tuple[Markup, ...]
    biology: tuple[Markup, ...]
    features: tuple[Markup, ...]
    effects: tuple[Markup, ...]
    estimates: tuple[Markup, ...]
    intensities: tuple[Markup, ...]


def study_figures(study: StudyFiles) -> StudyFigures:
    """Draw all figures of a study."""
    return StudyFigures(
        site_effect=shown(_probes(study)),
        biology=shown(map(_forest, _metrics(study, "r2_", "auc_", "icc_"))),
        features=shown(_features(study)),
        effects=shown(
            effects(
                _known(study, f"raw/effect/{column}"),
                _known(study, f"harmonized/effect/{column}"),
                column=column,
                name=f"effect-{k}",
            )
            for k, column in enumerate(effect_columns(study))
        ),
        estimates=(*_estimates(study), *_scales(study)),
        intensities=shown(_intensities(study)),
    )


def _intensities(study: StudyFiles) -> Iterator[Markup]:
    """Of images: the batches' mean quantiles, which the evaluation's sums hold."""
    sums = study.judgements.get("sums")
    if sums is None:
        return
    fitted = study.axis
    for k, contrast in enumerate(study.contrasts):
        of = f" ({contrast})" if len(study.contrasts) > 1 else ""
        for version, title in (("raw", "As measured"), ("harmonized", "Harmonized")):
            found = sums.arrays.get(f"{version}/batch_mean")
            if found is not None:
                yield distributions(
                    found[: len(fitted), k * EACH :][:, : len(QUANTILES)],
                    QUANTILES,
                    batches=fitted,
                    title=f"{title}{of}",
                    name=f"intensities-{version}{f'-{contrast}' if k else ''}",
                )


def _scales(study: StudyFiles) -> tuple[Markup, ...]:
    """Distributions that methods of images share."""
    if not study.contrasts:
        return ()
    known = {"standard_scale": "The standard scale", "target": "The target distribution"}
    found = []
    for name, title in known.items():
        values = study.shared.get(name)
        if values is None or values.ndim != 1:
            continue
        landmarks = name == "standard_scale" and len(values) == len(LANDMARKS)
        marks = LANDMARKS if landmarks else np.linspace(0, 100, len(values))
        percent = np.asarray(marks, dtype=np.float64)
        found.append(scale(values.astype(np.float64), percent, title=title, name=f"scale-{name}"))
    return tuple(found)


def _features(study: StudyFiles) -> Iterator[Markup]:
    yield histogram(
        _versions(study, "eta2"),
        title="Variance explained by batch",
        label="partial η²",
        name="eta2",
    )
    for name, test in (("means", "anova"), ("variances", "levene")):
        yield p_values(
            _versions(study, f"{test}_p"), title=f"Differences of batch {name}", name=test
        )


def _metrics(study: StudyFiles, *prefixes: str) -> tuple[Metric, ...]:
    """Metrics of both judgements, each once, of the fuller."""
    found: dict[str, Metric] = {}
    for judged in study.judgements.values():
        for metric in judged.metrics:
            if metric.name.startswith(prefixes):
                found.setdefault(metric.name, metric)
    return tuple(found.values())


def _forest(metric: Metric, *, limits: tuple[float, float] | None = None) -> Markup:
    return forest(metric, name=f"forest-{metric.name}", limits=limits)


def _probes(study: StudyFiles) -> Iterator[Markup]:
    """The site probes, all on one axis from 0: they are to be compared."""
    metrics = _metrics(study, "site_accuracy_")
    reach = [
        bound for m in metrics for reading in m.readings.values() for bound in _bounds(reading)
    ]
    limits = (0.0, min(1.0, 1.06 * max(reach, default=1.0)))
    for metric in metrics:
        yield _forest(metric, limits=limits)


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
    square = f"{label}²" if len(units) == 1 else f"squared {label}"
    # A feature that is constant, or that networks never saw, has no scale of its own: it has 1.
    used = study.shared.get("used")
    seen = slice(None) if used is None or used.shape != (p,) else used.astype(bool)
    return shown(
        estimate(
            study.shared[name].astype(np.float64)[seen if name == "sd" else slice(None)],
            title=ESTIMATES.get(name, name),
            label=square if name.startswith("var") else label,
            name=f"estimate-{name}",
        )
        for name in names[:MOST_ESTIMATES]
    )

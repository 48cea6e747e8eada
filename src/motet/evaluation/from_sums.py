"""A judgement from the sums of a federation: no row of anybody is behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.evaluation.below import below
from motet.evaluation.declared import BINS, VERSIONS
from motet.evaluation.intervals import (
    accuracy,
    area_under_curve,
    explained,
    mean_absolute_error,
)
from motet.evaluation.kept import kept_metrics
from motet.evaluation.result import Aim, Better, Judgement, Metric, Reading
from motet.evaluation.rows import targets
from motet.evaluation.steps import judged_rows
from motet.releases import Arrays
from motet.schema import Schema

Float = NDArray[np.float64]
ALPHA = 0.05
ERRORS = ("ee", "e4", "eet", "eett")
SPREAD = ("t", "tt", "t3", "t4")


def people_of_batches(schema: Schema, judged: Arrays | None) -> list[dict[str, Any]]:
    """Every batch with its role and, where an evaluation summed them, its rows.

    Returns
    -------
    list of dict
        ``site``, ``batch``, ``role`` (``fit`` or ``unseen``), ``fit`` and ``held_out``: rows, or
        None where no sum released them.
    """
    # Without rows of batches nobody knows how many people each has.
    known = judged is not None and "judged/batches" not in judged
    counts = judged["judged/counts"] if judged is not None and known else None
    return [
        {
            "site": batch.site,
            "batch": batch.name,
            "role": "fit" if k < len(schema.batches) else "unseen",
            "fit": None if counts is None else int(counts[0, k]),
            "held_out": None if counts is None else int(counts[1, k]),
        }
        for k, batch in enumerate(schema.judged)
    ]


def judgement(schema: Schema, shared: Arrays, *, left_out: Mapping[str, str]) -> Judgement:
    """Put together what the four sums say.

    Parameters
    ----------
    schema : Schema
    shared : mapping of str to ndarray
        The conclusions of the evaluation's phases.
    left_out : mapping of str to str
        Sites lost during the evaluation, with the code of the reason.
    """
    varies = np.isfinite(shared["judged/effect"][0]).any(axis=0)
    varies |= np.isfinite(shared["judged/eta2"][0])
    n, _ = judged_rows(shared)
    columns = schema.with_biology.columns
    effects = {
        version: dict(zip(columns, shared["judged/effect"][v], strict=True))
        for v, version in enumerate(VERSIONS)
    }
    metrics = [
        *([_probe(shared)] if "judged/confusion" in shared else []),
        *_by_feature(schema, shared, n),
        *_predictions(schema, shared),
        *kept_metrics(effects, schema.with_biology.covariates, n=n),
    ]
    everybody = bool(shared["everybody"])
    return Judgement(
        source="sums",
        people="all (fitted on them)" if everybody else "held out",
        n=n,
        features=int(varies.sum()),
        metrics=tuple(metric for metric in metrics if metric.readings),
        arrays={
            f"{version}/{name}": shared[f"judged/{name}"][v]
            for v, version in enumerate(VERSIONS)
            for name in ("eta2", "anova_p", "levene_p")
        }
        | {
            f"{version}/batch_mean": shared["judged/batch_mean"][v]
            for v, version in enumerate(VERSIONS)
            if "judged/batch_mean" in shared
        }
        | {
            f"{version}/effect/{column}": effect
            for version, of in effects.items()
            for column, effect in of.items()
        },
        notes=(*_notes(schema, shared, left_out), *below(metrics)),
    )


def _metric(
    name: str,
    title: str,
    aim: Aim,
    better: Better,
    readings: Sequence[Reading],
    **more: Any,
) -> Metric:
    found = dict(zip(VERSIONS, readings, strict=True))
    return Metric(name=name, title=title, aim=aim, better=better, readings=found, **more)


def _probe(shared: Arrays) -> Metric:
    classes = int(shared["classes"].sum())
    return _metric(
        "site_accuracy_lda",
        "Site balanced accuracy, linear discriminant",
        "site_effect",
        "chance",
        [accuracy(confusion, classes) for confusion in shared["judged/confusion"]],
        chance=1.0 / classes if classes > 1 else None,
        band_from="binomial",
    )


def _by_feature(schema: Schema, shared: Arrays, n: int) -> list[Metric]:
    def share(name: str) -> list[Reading]:
        return [_of_known(p, n, lambda k: np.mean(k < ALPHA)) for p in shared[f"judged/{name}"]]

    def median(name: str) -> list[Reading]:
        return [_of_known(values, n, np.median) for values in shared[f"judged/{name}"]]

    found = [
        _metric(
            "anova_share",
            "Share of features with p < 0.05, ANOVA",
            "site_effect",
            "chance",
            share("anova_p"),
            chance=ALPHA,
        ),
        _metric(
            "levene_share",
            "Share of features with p < 0.05, Levene about medians (Brown-Forsythe)",
            "site_effect",
            "chance",
            share("levene_p"),
            chance=ALPHA,
        ),
        _metric(
            "batch_eta2",
            "Partial eta squared of the batches, median over features",
            "site_effect",
            "lower",
            median("eta2"),
        ),
    ]
    if schema.with_biology.columns:
        title = "Partial R squared of covariates and biology, median over features"
        found.append(_metric("covariates_r2", title, "biology", "raw", median("r2")))
    return found


def _of_known(values: Float, n: int, summary: Any) -> Reading:
    known = values[np.isfinite(values)]
    return Reading(value=float(summary(known)) if len(known) else None, n=n)


def _predictions(schema: Schema, shared: Arrays) -> list[Metric]:
    n = int(shared["judged/n_read"])
    found: list[Metric] = []
    chosen = targets(schema)
    scored = [i for i, target in enumerate(chosen) if target.level]
    for covariate in schema.with_biology.covariates:
        name = covariate.name
        mine = [i for i, target in enumerate(chosen) if target.name == name]
        if covariate.kind == "continuous":
            i = mine[0]
            r2, mae = [], []
            for v in range(len(VERSIONS)):
                errors = {k: float(shared[f"judged/{k}"][v, i]) for k in ERRORS}
                spread = {k: float(shared[f"judged/{k}"][i]) for k in SPREAD}
                r2.append(explained(n, **errors, **spread))
                mae.append(mean_absolute_error(n, float(shared["judged/e1"][v, i]), errors["ee"]))
            found += [
                _metric(f"r2_{name}", f"{name}: R squared, ridge", "biology", "higher", r2),
                _metric(
                    f"mae_{name}", f"{name}: mean absolute error, ridge", "biology", "lower", mae
                ),
            ]
            continue
        at = [scored.index(i) for i in mine]
        auc = [area_under_curve(scores[at]) for scores in shared["judged/scores"]]
        title = f"{name}: area under the curve, ridge"
        found.append(_metric(f"auc_{name}", title, "biology", "higher", auc, chance=0.5))
    return found


def _notes(schema: Schema, shared: Arrays, left_out: Mapping[str, str]) -> list[str]:
    found = [
        f"{site} was lost during the evaluation ({code}) and is not in these figures."
        for site, code in sorted(left_out.items())
    ]
    if shared["everybody"]:
        found.append(
            "Nobody is held out: the harmonization is judged on the people it was fitted on, and "
            "looks better than it is. Probes are trained on two thirds of them and read on the "
            "others."
        )
    people = int(shared["judged/people"][0 if shared["everybody"] else 1])
    n, _ = judged_rows(shared)
    if n > people:
        found.append(
            f"{n} rows of {people} people (counted site by site) are judged: a person's sessions "
            "are taken for independent, so intervals and bands are too narrow and p values too "
            "small."
        )
    if failed := int(shared["judged/failed_alone"]):
        found.append(
            f"At {failed} {'site' if failed == 1 else 'sites'} with two or more batches the method "
            "failed on the site's own people: its local-only values are its raw ones."
        )
    by_batch = () if "judged/batches" in shared else shared["judged/counts"].T
    for batch, (fit, others, _) in zip(schema.batches, by_batch, strict=False):
        if not fit and others and not shared["everybody"]:
            found.append(
                f"Everybody of batch {batch} is held out: its effects come from these very "
                "people, who are not judged."
            )
    for site in sorted({batch.site for batch in schema.unseen}):
        found.append(
            f"{site} took no part in the fit: its scanners' effects come from the people judged "
            "here."
        )
    sites = {batch.site for batch in schema.judged}
    if len(sites) == len(schema.judged):
        found.append(
            "Every site has one batch: alone, a method of batches has nothing to bring together."
        )
    if (blur := _ties(shared["judged/scores"])) > 0:
        found.append(
            f"Areas under the curve are read from {BINS} bins of the score: people in one bin "
            f"count half, which changes no area by more than {blur:.4f}."
        )
    return found


def _ties(scores: NDArray[np.int64]) -> float:
    """The most that the order within bins could change an area."""
    without, with_level = scores[..., 0, :], scores[..., 1, :]
    pairs = np.maximum(without.sum(axis=-1) * with_level.sum(axis=-1), 1)
    return float(((without * with_level).sum(axis=-1) / pairs / 2).max(initial=0.0))

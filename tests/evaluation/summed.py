"""Studies that are judged by sums, and what a dense computation says of the same people."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import Case, case
from conformance.federation import Federation
from evaluation.dense import dense
from motet.cohort import in_fit
from motet.evaluation.result import Judgement
from motet.server import Outcome

SUMMED = {"metrics": "summed"}
HELD_OUT = {"metrics": "summed", "held_out": 0.4}


def judged(study: Case, **options: Any) -> tuple[Federation, Outcome, Judgement]:
    sites = Federation(study, **options)
    outcome = sites.run()
    assert not outcome.missing, sites.errors
    assert outcome.judgement is not None, sites.errors
    return sites, outcome, outcome.judgement


def held(study: Case) -> np.ndarray:
    """Who is held out, (n,) bool."""
    people = study.table(np.arange(len(study.values)), "all").people
    return ~in_fit(people, held_out=study.evaluation.get("held_out", 0.0), seed=study.seed)


def of_study(n: tuple[int, ...] = (30, 26, 34), **options: Any) -> Case:
    evaluation = options.pop("evaluation", HELD_OUT)
    return replace(case(n=n, **options), evaluation=evaluation)


def close(found: np.ndarray, expected: np.ndarray, **tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, **(tolerance or {"rtol": 1e-9, "atol": 1e-12}))


def equal_to_dense(study: Case, found: Judgement, version: str, values: np.ndarray) -> None:
    rows = held(study) if study.evaluation.get("held_out") else np.ones(len(values), dtype=bool)
    expected = dense(study, values, rows)
    for name in ("anova_p", "levene_p", "eta2"):
        close(found.arrays[f"{version}/{name}"], getattr(expected, name))
    for column, effect in expected.effect.items():
        close(found.arrays[f"{version}/effect/{column}"], effect, rtol=1e-8, atol=1e-10)
    for metric, values_of in (("batch_eta2", expected.eta2), ("covariates_r2", expected.r2)):
        if found.has(metric):
            read = found.metric(metric).readings[version].value
            assert read == pytest.approx(np.median(values_of), rel=1e-9)

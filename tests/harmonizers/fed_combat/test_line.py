"""With a line for phi, trained to its end, Fed-ComBat is ComBat."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import Case, case
from conformance.direct import direct
from conformance.masked import ran, secure, spread
from conformance.test_apply import applied

UNEQUAL = (31, 12, 8, 41)
STEPS = {"preset": "small", "steps": 25}
"""A step is enough where all cells are there; a share f of missing cells leaves f^steps."""


def line(study: Case, **train: Any) -> Case:
    """The same study by Fed-ComBat with a line."""
    options = {**study.options, "phi": "linear"}
    return replace(study, method="fed_combat", options=options, train={**STEPS, **train})


def apart(study: Case, found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, in sd of the feature."""
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    return float(np.nanmax(np.abs(found - expected) / spread(study.values)))


@pytest.mark.parametrize("missing", [0.0, 0.15])
@pytest.mark.parametrize(
    "options",
    [{}, {"reference": "b1"}, {"prior": "nonparametric"}, {"adjust": "location", "prior": "none"}],
    ids=["default", "reference", "nonparametric", "location"],
)
def test_equals_combat(options: dict[str, Any], missing: float) -> None:
    """Catches a centre, an intercept or a divisor other than ComBat's, covariates of people whose
    value is missing, and priors across sites."""
    study = case("combat", options, n=UNEQUAL, p=9, missing=missing)
    expected = direct(study, study.tables()).values
    found = direct(line(study), study.tables()).values
    assert apart(study, found, expected) < 1e-6
    assert apart(study, expected, study.values) > 0.1


def test_one_step_is_enough() -> None:
    """Catches covariates that are not white within batches: the step would not be Newton's."""
    study = case("combat", n=UNEQUAL)
    expected = direct(study, study.tables()).values
    found = direct(line(study, steps=1), study.tables()).values
    assert apart(study, found, expected) < 1e-10


@pytest.mark.parametrize("covariates", [(), ("dx",)])
def test_other_covariates(covariates: tuple[str, ...]) -> None:
    """Catches a training of nothing, where there is no covariate."""
    study = case("combat", n=UNEQUAL, covariates=covariates)
    expected = direct(study, study.tables()).values
    assert apart(study, direct(line(study), study.tables()).values, expected) < 1e-10


@pytest.mark.parametrize("where", ["b3", "b0"])
def test_constant_within_a_batch(where: str) -> None:
    """Catches residuals of a constant, which vary by what phi says, taken for its scale."""
    study = case("combat", n=UNEQUAL)
    values = study.values.copy()
    values[study.batch == where, 1] = 0.1
    values[:, 4] = 0.7 * values[:, 4].mean()
    study = replace(study, values=values)
    expected = direct(study, study.tables()).values
    found = direct(line(study), study.tables()).values
    np.testing.assert_array_equal(found[:, 4], study.values[:, 4])
    others = [j for j in range(6) if j != 4]
    worst = np.abs(found - expected)[:, others].max(axis=0) / spread(study.values)[others]
    assert worst.max() < 1e-10


def test_unseen_site_and_new_people() -> None:
    """Catches effects of a known batch at an unseen one, and a phi that changes with who is there;
    the unseen site lacks cells of a feature that nobody lacked in the fit."""
    whole = case("combat", n=(*UNEQUAL, 15))
    values = whole.values.copy()
    values[np.flatnonzero(whole.batch == "b4")[:3], 2] = np.nan
    whole = replace(whole, values=values)
    old, new = np.flatnonzero(whole.batch != "b4"), np.flatnonzero(whole.batch == "b4")
    part = replace(
        whole,
        values=whole.values[old],
        batch=whole.batch[old],
        covariates=whole.covariates.iloc[old],
    )
    results = []
    for study in (part, line(part)):
        fit = direct(study, study.tables())
        unseen, said = applied(whole, fit, new, "elsewhere", None)
        known, _ = applied(whole, fit, old[:1], f"site-{whole.batch[old[0]]}", None)
        results.append(unseen)
        assert len(said) == 1
        assert np.isfinite(known).all()
    assert apart(whole, results[1], results[0]) < 1e-6


def test_local_mode_stays_near() -> None:
    """Catches networks that drift apart: sites of different ages, steps of their own."""
    study = case("combat", n=(40, 50, 45), covariates=("age", "sex"))
    expected = direct(study, study.tables()).values
    local = line(study, mode="local", local_steps=10, steps=300)
    found = direct(local, study.tables()).values
    rms = np.sqrt(np.mean(((found - expected) / spread(study.values)) ** 2))
    assert rms < 0.02


def test_masked_sums_come_to_the_same() -> None:
    """Catches a bound that residuals or gradients exceed, and a scale that loses digits."""
    study = secure("combat", missing=0.1)
    expected = direct(study, study.tables()).values
    sites, outcome = ran(line(study))
    assert outcome.plan.secure
    assert not outcome.missing, sites.errors
    assert apart(study, sites.values, expected) < 1e-9

"""A covariate as a curve: the same from any sites, from masked sums, and from its columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import METHODS, Case, case
from conformance.direct import direct
from conformance.masked import ran, spread
from conformance.test_apply import applied
from conformance.test_federated_equals_pooled import RELATIVE, federated
from kernel.test_spline import truncated
from motet.agreement import agree
from motet.errors import DataError, DesignError, PlanError, SchemaError
from motet.harmonizers._linear.design import columns_of, design_matrix
from motet.plan import build_plan
from motet.schema import Covariate, Schema
from motet.spline import Spline
from reference.dense_combat import dense_combat

KNOTS = {"knots": [35, 50, 65], "bounds": [25, 75]}
"""Ages are from 20 to 80: some people are beyond the bounds."""
SPLINE = Spline.from_json(KNOTS)


def curved(method: str = "combat", **made: Any) -> Case:
    """A study whose features bend with age."""
    study = case(method, **{"n": (14, 12, 13, 16), "covariates": ("age", "sex"), **made})
    bend = np.cos(study.covariates["age"].to_numpy() / 9)[:, None] * study.scale / 5
    return replace(study, values=study.values + bend, splines={"age": KNOTS})


@pytest.mark.parametrize("method", METHODS)
def test_any_sites_equal_pooled(method: str) -> None:
    """Catches knots, bounds or a scale of a curve that a site takes from its own people."""
    study = curved(method, missing=0.06 if method == "combat" else 0.0)
    pooled = direct(study, study.pooled()).values
    for site_of in ({b: f"s{b}" for b in study.batches}, dict(zip(study.batches, "yxyx"))):  # noqa: B905
        apart = np.nanmax(np.abs(federated(study, site_of) - pooled), axis=0) / study.scale
        assert apart.max() <= RELATIVE


def test_as_the_columns_themselves_and_as_the_books() -> None:
    """Catches columns other than the declared ones: against ComBat of the same numbers as plain
    covariates, and against a dense ComBat with another basis of the same space."""
    study = curved()
    found = direct(study, study.tables()).values
    age = study.covariates["age"].to_numpy()
    columns = dict(zip(SPLINE.columns("age"), SPLINE.design(age).T, strict=True))
    plain = replace(study, covariates=study.covariates[["sex"]].assign(**columns), splines={})
    expected = direct(plain, plain.tables()).values
    assert (np.abs(found - expected).max(axis=0) / study.scale).max() <= 1e-10
    W = np.column_stack([truncated(SPLINE, age)[:, 1:], study.covariates["sex"] == "M"])
    dense, _ = dense_combat(study.values, study.batch, W)
    assert (np.abs(found - dense).max(axis=0) / study.scale).max() <= 1e-10
    straight = replace(study, splines={})
    line = direct(straight, straight.tables()).values
    assert (np.abs(found - line).max(axis=0) / study.scale).min() > 1e-4


def test_beyond_the_bounds_and_at_an_unseen_site() -> None:
    """Catches people outside the bounds who are clamped or follow a cubic, and an unseen site that
    knows no knots."""
    study = curved()
    fit = direct(study, study.tables())
    ages = np.array([5.0, 15.0, 25.0, 75.0, 95.0, 115.0])
    new = replace(
        curved(n=(6,), seed=3),
        covariates=study.covariates.iloc[:6].assign(age=ages, sex="F"),
        values=np.zeros((6, len(study.features))),
        batch=np.array(["new"] * 6),
    )
    values, _ = applied(new, fit, np.arange(6), "elsewhere", None)
    assert np.isfinite(values).all()
    W = design_matrix(new.pooled()["all"], fit.plan.schema)
    curve = (W @ fit.shared["beta"])[[0, 1, 2, 3, 4, 5]]
    for three in (curve[:3], curve[3:]):
        bent = np.abs(three[0] - 2 * three[1] + three[2]) / np.abs(three).max(axis=0)
        assert bent.max() < 1e-9
    assert (np.abs(curve[4] - curve[3]) / study.scale).min() > 1e-6
    assert fit.plan.schema.columns == ("age", "age@35", "age@50", "age@65", "sex=M")
    assert Schema.from_json(fit.plan.schema.to_json()) == fit.plan.schema


def test_secure_sums_come_to_the_same() -> None:
    """Catches a column beyond its bound, in the fit and in what the evaluation sums."""
    judged = {"metrics": "summed", "held_out": 0.3, "by_batch": True}
    study = replace(curved(n=(24, 22, 23)), secure=None, evaluation=judged)
    sites, outcome = ran(study)
    assert outcome.plan.secure
    assert not outcome.missing, sites.errors
    plain, expected = ran(replace(study, secure=False))
    assert (np.abs(sites.values - plain.values) / spread(study.values)).max() < 1e-9
    assert outcome.judgement is not None, sites.errors
    assert expected.judgement is not None
    for name in ("r2_age", "effect_kept_age", "covariates_r2"):
        one, other = (o.judgement.metric(name).readings for o in (outcome, expected))
        for version, reading in other.items():
            assert one[version].value == pytest.approx(reading.value, rel=1e-6, abs=1e-9)


def test_the_plan_of_other_knots_is_another() -> None:
    """Catches an approval that other knots ride on, and a schema that has other knots than the
    study that people approve."""
    study = curved()
    plan = direct(study, study.tables()).plan
    moved = replace(study, splines={"age": {**KNOTS, "knots": [35, 50, 74]}})
    other = direct(moved, moved.tables()).plan
    line = replace(study, splines={})
    assert len({plan.hash, other.hash, direct(line, line.tables()).plan.hash}) == 3
    with pytest.raises(PlanError, match="did not agree on the spline of 'age'"):
        build_plan(study.study, other.schema)


def test_a_site_with_other_knots_is_named() -> None:
    """Catches sums over sites that have different columns."""
    study = curved()
    moved = replace(study, splines={"age": {**KNOTS, "knots": [35, 50]}})
    described = [table.described for table in study.tables().values()]
    odd = moved.tables()["site-b2"].described
    with pytest.raises(
        SchemaError, match=r"knots 35, 50, linear .* here and .*35, 50, 65"
    ) as error:
        agree([odd if one.site == "site-b2" else one for one in described])
    assert error.value.where["site"] == "site-b2"


def test_designs_that_cannot_be_estimated() -> None:
    """Catches a singular matrix, of more knots than different ages, and a curve of a word."""
    study = curved()
    young = study.covariates.assign(age=np.where(np.arange(55) % 3, 30.0, 60.0))
    few = replace(study, covariates=young)
    with pytest.raises(DesignError, match="age@") as error:
        direct(few, few.tables())
    assert "of a spline, a knot" in str(error.value)
    with pytest.raises(DataError, match=r"'[FM]' is not a number") as wrong:
        replace(study, splines={"sex": KNOTS}).tables()
    assert wrong.value.where["column"] == "sex"
    flat = replace(study, covariates=study.covariates.assign(age=50.0))
    with pytest.raises(SchemaError, match="'age' is constant"):
        direct(flat, flat.tables())


def test_columns_of_one_covariate() -> None:
    """Catches another coding where the evaluation shuffles a covariate."""
    ages = np.array([20.0, 50.0])
    age = Covariate(name="age", kind="continuous", spline=SPLINE)
    np.testing.assert_array_equal(columns_of(age, ages), SPLINE.design(ages))
    assert str(age).startswith("age (natural cubic spline, knots 35, 50, 65, linear below 25")

"""Designs that cannot be estimated end in a typed error that names what is at fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from conformance.cases import METHODS, MISSING_CELLS, Case, case
from conformance.direct import direct
from motet.client.apply import harmonized
from motet.errors import DataError, DesignError, ModelError, MotetError, SchemaError
from motet.simulation import array_sink, run_sites

pytestmark = pytest.mark.parametrize("method", METHODS)


def ran(study: Case, frame: pd.DataFrame | None = None) -> None:
    """Run a study, with other covariates where given; every batch is a site of that name."""
    study = study if frame is None else replace(study, covariates=frame)
    tables = study.tables({batch: batch for batch in study.batches})
    values = np.empty_like(study.values)
    run_sites(study.study, tables, sink_of=lambda site: lambda t, about: array_sink(t, values))


def test_collinear_covariates(method: str) -> None:
    """Catches numbers of any size from a singular matrix: months are twelve times years."""
    study = case(method, covariates=("age", "sex"))
    frame = study.covariates.assign(months=study.covariates["age"] * 12)
    with pytest.raises(DesignError, match="collinear") as error:
        ran(study, frame)
    assert "age" in str(error.value)
    assert "months" in str(error.value)
    assert "sex" not in str(error.value)


def test_constant_covariate(method: str) -> None:
    """Catches a constant that the batches' intercepts absorb: its effect would be arbitrary."""
    study = case(method, covariates=("age",))
    with pytest.raises((SchemaError, DesignError), match="scanner"):
        ran(study, study.covariates.assign(scanner="T3"))
    with pytest.raises((SchemaError, DesignError), match="field"):
        ran(study, study.covariates.assign(field=3.0))


def test_covariate_confounded_with_site(method: str) -> None:
    """Catches the effect of a diagnosis that only one hospital has being kept as biology."""
    study = case(method, covariates=("age",))
    confounded = np.where(study.batch == "b2", "patient", "control")
    with pytest.raises((SchemaError, DesignError), match="confounded") as error:
        ran(study, study.covariates.assign(dx=confounded))
    assert "dx" in str(error.value)
    assert "b2" in str(error.value)


def test_continuous_covariate_constant_within_every_batch(method: str) -> None:
    """Catches a dose that every site has one of: estimable only through the scanners."""
    study = case(method, covariates=("age",))
    dose = np.array([float(name[1:]) for name in study.batch])
    with pytest.raises((SchemaError, DesignError), match="dose"):
        ran(study, study.covariates.assign(dose=dose))


def test_a_level_confounded_with_site_while_others_vary(method: str) -> None:
    """Catches the rank check looking at covariates and not at the columns of their levels."""
    study = case(method, covariates=("age", "sex"))
    dx = study.covariates["sex"].map({"F": "AD", "M": "CN"}).to_numpy()
    dx = np.where(np.arange(len(dx)) % 3 == 0, "CN", dx)
    dx = np.where(study.batch == "b1", "FTD", dx)
    with pytest.raises(DesignError, match="FTD") as error:
        ran(study, study.covariates.assign(dx=dx))
    assert "b1" in str(error.value)


def test_too_few_people(method: str) -> None:
    """Catches a fit without a residual: every value would be 'explained'."""
    study = case(method, n=(2, 2, 2))
    with pytest.raises(MotetError) as error:
        ran(study)
    assert error.value.code in ("design", "schema")


def test_infinite_value_names_site_feature_and_person(method: str) -> None:
    """Catches an infinity that becomes everybody's NaN."""
    study = case(method)
    values = study.values.copy()
    row = int(np.flatnonzero(study.batch == "b1")[2])
    values[row, 3] = np.inf
    with pytest.raises(DataError) as error:
        ran(replace(study, values=values))
    assert error.value.where == {"site": "b1", "person": f"sub-{row + 1}", "feature": "f3"}


def test_missing_value_is_taken_or_refused_by_name(method: str) -> None:
    """Catches a method without a rule for NaN letting it through."""
    study = case(method)
    values = study.values.copy()
    values[int(np.flatnonzero(study.batch == "b1")[2]), 3] = np.nan
    if method in MISSING_CELLS:
        ran(replace(study, values=values))
        return
    with pytest.raises(DataError) as error:
        ran(replace(study, values=values))
    assert (error.value.where["site"], error.value.where["feature"]) == ("b1", "f3")


def test_incomplete_feature_that_loses_the_design_is_named(method: str) -> None:
    """Catches a rank error of one feature's observed people that does not say which feature."""
    if method not in MISSING_CELLS:
        pytest.skip("takes no missing cells")
    study = case(method, covariates=("age", "sex"))
    values = study.values.copy()
    values[(study.covariates["sex"] == "M").to_numpy(), 4] = np.nan
    with pytest.raises(DesignError) as error:
        ran(replace(study, values=values))
    assert error.value.where["feature"] == "f4"
    assert "sex" in str(error.value)


def test_level_that_the_study_does_not_know(method: str) -> None:
    """Catches a new diagnosis at apply being treated as the first level."""
    study = case(method, covariates=("age", "dx"))
    fit = direct(study, study.tables())
    dx = study.covariates["dx"].to_numpy().copy()
    dx[0] = "MCl"
    changed = replace(study, covariates=study.covariates.assign(dx=dx))
    rows = np.flatnonzero(study.batch == study.batch[0])
    site = f"site-{study.batch[0]}"
    with pytest.raises(DataError, match="MCl") as error:
        list(
            harmonized(
                changed.table(rows, site),
                method=fit.plan.harmonizer,
                params=fit.plan.params,
                schema=fit.plan.schema,
                shared=fit.shared,
                model=fit.models[site],
            )
        )
    assert error.value.where == {"site": site, "column": "dx", "person": "sub-1"}
    assert "MCI" in str(error.value)


@pytest.mark.parametrize(
    ("features", "named"),
    [
        (("f1", "f0", "f2", "f3", "f4", "f5"), "f1"),
        (("f0", "f1", "f2", "f3", "f4", "g5"), "f5"),
    ],
    ids=["order", "other"],
)
def test_other_features_at_apply(method: str, features: tuple[str, ...], named: str) -> None:
    """Catches a column harmonized with another column's estimates."""
    study = case(method)
    fit = direct(study, study.tables())
    rows = np.flatnonzero(study.batch == "b0")
    with pytest.raises(ModelError) as error:
        list(
            harmonized(
                replace(study, features=features).table(rows, "site-b0"),
                method=fit.plan.harmonizer,
                params=fit.plan.params,
                schema=fit.plan.schema,
                shared=fit.shared,
                model=fit.models["site-b0"],
            )
        )
    assert error.value.where["feature"] == named

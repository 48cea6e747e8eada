"""Tables that break other packages: one person, an absent category, constants, a reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import (
    BATTERY,
    ENTANGLED,
    METHODS,
    MISSING_CELLS,
    REFERENCE,
    TRAINED,
    battery_id,
    case,
)
from conformance.direct import direct
from conformance.federation import Federation, run_case

RELATIVE = 1e-12


@pytest.mark.parametrize("missing", [0.0, 0.1])
@pytest.mark.parametrize("method", [m for m in METHODS if m in REFERENCE])
def test_reference_batch_is_untouched_bit_for_bit(method: str, missing: float) -> None:
    """Catches a reference that goes through sigma * ((y - a) / sigma) + a, and one that is not
    the reference: the others must move."""
    missing = missing if method in MISSING_CELLS else 0.0
    study = case(method, REFERENCE[method], missing=missing)
    rows = study.batch == "b1"
    for site_of in (None, {"b0": "x", "b1": "x", "b2": "y", "b3": "z"}):
        _, values = run_case(study, study.tables(site_of))
        assert values[rows].tobytes() == study.values[rows].tobytes()
        assert np.nanmax(np.abs(values - study.values)[~rows] / study.scale) > 1e-3


@pytest.mark.parametrize("with_neighbour", [False, True])
@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
def test_one_person_batch_is_warned_of_and_harms_nobody(
    method: str, options: dict[str, Any], with_neighbour: bool
) -> None:
    """Catches 0 * NaN, which in neuroCombat makes everybody's result NaN."""
    study = case(method, options, n=(9, 12, 1, 10))
    site_of = {"b0": "x", "b1": "y", "b2": "x" if with_neighbour else "alone", "b3": "z"}
    federation = Federation(study, study.tables(site_of))
    outcome = federation.run()
    assert not outcome.missing
    assert np.isfinite(federation.values).all()
    site = site_of["b2"]
    named = [text for at, text in federation.warnings if at == site and "'b2'" in text]
    assert named, federation.warnings
    assert all("'b2'" in text for _, text in federation.warnings)
    model = federation.workers[site].model
    assert model is not None
    if "delta_star" in model.arrays:
        np.testing.assert_array_equal(model.arrays["delta_star"][model.batches.index("b2")], 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_category_absent_at_a_site_is_normal(method: str) -> None:
    """Catches levels coded by what the site itself has seen: columns would shift silently."""
    study = case(method, covariates=("age", "dx"))
    dx = study.covariates["dx"].to_numpy().copy()
    dx[(study.batch == "b0") & (dx == "CN")] = "MCI"
    dx[(study.batch == "b2") & (dx == "AD")] = "MCI"
    frame = study.covariates.assign(dx=dx)
    study = replace(study, covariates=frame)
    outcome, values = run_case(study)
    assert outcome.plan.schema.columns == ("age", "dx=CN", "dx=MCI")
    expected = direct(study, study.pooled()).values
    assert (np.abs(values - expected).max(axis=0) / study.scale).max() <= RELATIVE


@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
def test_constant_feature_comes_back_and_moves_no_other(
    method: str, options: dict[str, Any]
) -> None:
    """Catches a constant (seven times 0.1) in a prior, a division by its variance, or a NaN."""
    study = case(method, options)
    with_constant = np.insert(study.values, 2, 0.1, axis=1)
    features = (*study.features[:2], "flat", *study.features[2:])
    both = replace(study, values=with_constant, features=features)
    _, expected = run_case(study)
    _, values = run_case(both)
    np.testing.assert_array_equal(values[:, 2], 0.1)
    if method in ENTANGLED:
        return
    others = np.delete(values, 2, axis=1)
    assert (np.abs(others - expected).max(axis=0) / study.scale).max() <= RELATIVE


@pytest.mark.parametrize("method", METHODS)
def test_feature_constant_in_one_batch_gives_numbers_and_a_warning(method: str) -> None:
    """Catches delta_hat = 0 in a logarithm or a denominator."""
    study = case(method)
    values = study.values.copy()
    values[study.batch == "b3", 1] = 0.1
    study = replace(study, values=values)
    federation = Federation(study)
    federation.run()
    assert np.isfinite(federation.values).all()
    if method not in ENTANGLED:  # what a network leaves of a constant is none
        assert any(site == "site-b3" and "f1" in text for site, text in federation.warnings)


@pytest.mark.parametrize("method", [m for m in METHODS if m in MISSING_CELLS])
@pytest.mark.parametrize("options", [{}, {"reference": "b1"}], ids=["pooled", "reference"])
def test_missing_cells_stay_missing_and_spread_to_nobody(
    method: str, options: dict[str, Any]
) -> None:
    """Catches one NaN making a column, a site or, as in neuroCombat, the whole output NaN."""
    study = case(method, options if method in REFERENCE else {}, missing=0.1)
    assert np.isnan(study.values).sum() > 10
    _, values = run_case(study)
    np.testing.assert_array_equal(np.isnan(values), np.isnan(study.values))


@pytest.mark.parametrize("method", [m for m in METHODS if m in MISSING_CELLS - TRAINED])
def test_complete_features_do_not_move_when_another_lacks_a_cell(method: str) -> None:
    """Catches rows dropped from every feature because one feature lacks them: the complete
    features' estimates are theirs alone."""
    study = case(method)
    values = study.values.copy()
    values[np.flatnonzero(study.batch == "b0")[:3], 4] = np.nan
    holed = replace(study, values=values)
    a, b = direct(study, study.tables()), direct(holed, holed.tables())
    complete = [j for j in range(6) if j != 4]
    for name in ("alpha", "beta", "var_pooled"):
        if name in a.shared:
            np.testing.assert_array_equal(
                a.shared[name][..., complete], b.shared[name][..., complete]
            )


@pytest.mark.parametrize("method", [m for m in METHODS if m in MISSING_CELLS])
def test_feature_absent_at_a_whole_site(method: str) -> None:
    """Catches a mean over nobody: the site's cells stay empty, the others are harmonized."""
    study = case(method)
    values = study.values.copy()
    values[study.batch == "b2", 3] = np.nan
    study = replace(study, values=values)
    federation = Federation(study)
    federation.run()
    np.testing.assert_array_equal(np.isnan(federation.values), np.isnan(values))
    pooled = direct(study, study.pooled()).values
    assert (np.nanmax(np.abs(federation.values - pooled), axis=0) / study.scale).max() <= RELATIVE
    assert any(site == "site-b2" and "f3" in text for site, text in federation.warnings)

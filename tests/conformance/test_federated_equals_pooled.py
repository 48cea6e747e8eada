"""The one promise: splitting the data over sites changes nothing but the last bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.cases import BATTERY, MISSING_CELLS, TRAINED, Case, battery_id, case
from conformance.direct import direct
from motet.errors import MotetError
from motet.simulation import array_sink, run_sites

RELATIVE = 1e-12
"""Allowed difference, as a share of the largest absolute value of the feature."""


@st.composite
def studies(draw: st.DrawFn, method: str, options: dict[str, Any]) -> Case:
    n = draw(st.lists(st.integers(8, 14), min_size=2, max_size=5), label="people a batch")
    names = draw(st.lists(st.sampled_from(["age", "sex", "dx"]), unique=True), label="covariates")
    holes = draw(st.sampled_from([0.0, 0.08] if method in MISSING_CELLS else [0.0]))
    p = draw(st.integers(2, 7), label="features")
    seed = draw(st.integers(0, 10**6), label="seed")
    return case(method, options, n=n, p=p, covariates=names, missing=holes, seed=seed)


@st.composite
def assignments(draw: st.DrawFn, batches: list[str]) -> dict[str, str]:
    """Every batch's site: at least two sites, in any order, under any names."""
    names = draw(st.permutations(["hull", "aachen", "Zug", "10", "b"]), label="names")
    at = draw(st.lists(st.integers(0, 4), min_size=len(batches), max_size=len(batches)))
    if len(set(at)) < 2:
        at[-1] = (at[0] + 1) % 5
    order = draw(st.permutations(batches), label="order of batches")
    site_of = dict(zip(batches, at, strict=True))
    return {batch: names[site_of[batch]] for batch in order}


def outcome(run: Any) -> tuple[str, Any]:
    """Values, or for a design that cannot be estimated the error's code and column."""
    try:
        return "values", run()
    except MotetError as error:
        return error.code, error.where.get("column")


def federated(study: Case, site_of: dict[str, str]) -> np.ndarray:
    values = np.full_like(study.values, np.nan)
    run_sites(
        study.study,
        study.tables(site_of),
        sink_of=lambda site: lambda table, about: array_sink(table, values),
    )
    return values


def equals_pooled(method: str, options: dict[str, Any], data: st.DataObject) -> None:
    study = data.draw(studies(method, options))
    site_of = data.draw(assignments(study.batches))
    pooled, expected = outcome(lambda: direct(study, study.pooled()).values)
    got, values = outcome(lambda: federated(study, site_of))
    assert got == pooled
    if got != "values":
        assert values == expected
        return
    np.testing.assert_array_equal(np.isnan(values), np.isnan(study.values))
    worst = np.nanmax(np.abs(values - expected), axis=0) / study.scale
    assert worst.max() <= RELATIVE


@pytest.mark.parametrize(
    ("method", "options"), [b for b in BATTERY if b[0] not in TRAINED], ids=battery_id
)
@settings(max_examples=20)
@given(data=st.data())
def test_any_assignment_of_batches_to_sites_equals_pooled(
    method: str, options: dict[str, Any], data: st.DataObject
) -> None:
    """Catches whatever depends on the site instead of the batch: a mean over a site's scanners,
    an uncentred sum, a prior over the wrong pool, a level coded by the site's own levels."""
    equals_pooled(method, options, data)


@pytest.mark.parametrize(
    ("method", "options"), [b for b in BATTERY if b[0] in TRAINED], ids=battery_id
)
@settings(max_examples=6)
@given(data=st.data())
def test_any_assignment_equals_pooled_where_networks_are_trained(
    method: str, options: dict[str, Any], data: st.DataObject
) -> None:
    """The same, less often: each is a training. Catches draws and orders that know the site."""
    equals_pooled(method, options, data)


@pytest.mark.parametrize(
    ("method", "options"), [b for b in BATTERY if b[0] in TRAINED], ids=battery_id
)
def test_people_on_two_scanners_of_a_site_change_nothing(
    method: str, options: dict[str, Any]
) -> None:
    """Catches draws of a person's rows that depend on which of them lie at the site."""
    study = case(method, options)
    people = np.array([f"sub-{i}" for i in range(len(study.values))])
    first, second = (np.flatnonzero(study.batch == b) for b in ("b0", "b2"))
    people[second[:5]] = people[first[:5]]
    # Twice on one scanner, too.
    people[second[6]] = people[second[5]]
    study = replace(study, people=people)
    apart = federated(study, {b: f"s{b}" for b in study.batches})
    merged = federated(study, {b: "s0" if b in ("b0", "b2") else f"s{b}" for b in study.batches})
    assert (np.abs(apart - merged).max(axis=0) / study.scale).max() <= RELATIVE


@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
def test_merging_two_sites_changes_nothing(method: str, options: dict[str, Any]) -> None:
    """Catches a site with two scanners being treated as one batch."""
    study = case(method, options)
    apart = federated(study, {b: f"s{b}" for b in study.batches})
    merged = federated(study, {b: "s0" if b in ("b0", "b2") else f"s{b}" for b in study.batches})
    assert (np.abs(apart - merged).max(axis=0) / study.scale).max() <= RELATIVE
    assert (np.abs(apart - study.values).max(axis=0) / study.scale).min() > 1e-6

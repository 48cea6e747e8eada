"""Who can be read from sums along a curve, and that a site's policy counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from conformance.cases import Case, case
from conformance.direct import direct
from conformance.ledgers import released
from conformance.one_site import DEFAULT, sums_of
from kernel.test_spline import splines
from motet.client.counts import counts, groups
from motet.client.policy import OPEN, SitePolicy
from motet.client.spline_support import effective_people, least_supported
from motet.errors import PolicyError
from motet.spline import Spline

N = (40, 30, 30)
SPLINE = Spline(knots=(40, 80, 84), bounds=(18, 88))


def aged(ages: Sequence[float], *, knots: Sequence[float], bounds: Sequence[float]) -> Case:
    """A study whose first site has people of these ages."""
    study = case("combat", n=(len(ages), *N[1:]), covariates=("age",))
    of_all = study.covariates["age"].to_numpy().copy()
    of_all[study.batch == "b0"] = ages
    return replace(
        study,
        covariates=study.covariates.assign(age=of_all),
        splines={"age": {"knots": list(knots), "bounds": list(bounds)}},
    )


def behind(study: Case) -> Any:
    schema = direct(study, study.tables()).plan.schema
    return counts(study.tables()["site-b0"], schema, group="fit")


def combined(columns: np.ndarray, weights: np.ndarray, sums: Sequence[Any]) -> np.ndarray:
    """Sum of weighted features over people, from sums with columns: the weights are a combination.

    The sums are centred, so what is found is the weighted sum of distances from the mean.
    """
    of = np.linalg.lstsq(np.column_stack([np.ones(len(weights)), columns]), weights, rcond=None)[0]
    return of[1:] @ np.vstack([one["wy"] for one in sums])


def test_what_three_old_people_make_up(tmp_path: Path) -> None:
    """Catches a sum of three people who hide behind a site of forty: no cell has them, and none of
    them has a leverage of one half. The control reads it under the open policy."""
    ages = [*np.linspace(20, 60, 37), 86.0, 86.0, 86.0]
    study = aged(ages, **SPLINE.to_json())
    values = study.tables()["site-b0"].block(slice(None))
    sums = sums_of(study, tmp_path / "open", policy=OPEN)
    grid = np.linspace(18, 100, 500)
    weights = dict(least_supported(SPLINE.every_knot, grid))["above 80"]
    (at_86,) = dict(least_supported(SPLINE.every_knot, np.array([86.0])))["above 80"]
    found = combined(SPLINE.design(grid), weights, [sums]) / at_86 / 3
    expected = values[-3:].mean(axis=0) - values.mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7 * study.scale.max())
    assert list(DEFAULT.against(behind(study))) == [
        "3 in effect with age above 80 in its splines so far, fewer than 5"
    ]
    with pytest.raises(PolicyError, match="3 in effect with age above 80") as error:
        sums_of(study, tmp_path / "site", policy=DEFAULT)
    assert error.value.code == "policy"
    assert [entry["phase"] for entry in released(tmp_path / "site")] == ["schema"]
    lax = SitePolicy(plain_sums=True, smallest_basis=3)
    assert sums_of(study, tmp_path / "lax", policy=lax)


def test_knots_of_several_studies(tmp_path: Path) -> None:
    """Catches one person in the middle, whom the knots of five studies close in on though each
    study has one knot that everybody is around."""
    ages = np.concatenate([np.linspace(20, 48, 20), [50.0], np.linspace(52, 80, 19)])
    knots = (49.0, 49.5, 50.0, 50.5, 51.0)
    studies = [aged(ages, knots=[knot], bounds=(18, 90)) for knot in knots]
    values = studies[0].tables()["site-b0"].block(slice(None))
    sums = [sums_of(study, tmp_path / "open", policy=OPEN) for study in studies]
    grid = np.linspace(18, 90, 721)
    one = np.nan_to_num(BSpline.basis_element(knots, extrapolate=False)(grid))
    curves = np.hstack([Spline(knots=(k,), bounds=(18, 90)).design(grid) for k in knots])
    peak = float(BSpline.basis_element(knots)(50.0))
    found = combined(curves, one, sums) / peak
    expected = values[20] - values.mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * values.std(axis=0).max())
    for study in studies:
        assert list(DEFAULT.against(behind(study))) == []
    with pytest.raises(PolicyError, match="in effect with age from 49 to 51"):
        for study in studies:
            sums_of(study, tmp_path / "site", policy=DEFAULT)
    left = released(tmp_path / "site", kind="knots")
    assert left[0]["knots"] == [18.0, 49.0, 90.0]
    assert 1 <= len(left) < 5
    # Again with knots that are known already.
    assert sums_of(studies[0], tmp_path / "site", policy=DEFAULT)
    assert len(released(tmp_path / "site", kind="knots")) == len(left)


def test_nobody_there_and_everybody() -> None:
    """Catches a site of young people that is refused for the old ones whom it does not have, and
    a usual study that is refused."""
    knots, bounds = (30, 45, 60), (18, 90)
    young = behind(aged(np.linspace(20, 44, 40), knots=knots, bounds=bounds))
    assert young.basis["age", "above 45"] == 0
    assert min(n for n in young.basis.values() if n) > 5
    usual = behind(aged(np.linspace(20, 80, 40), knots=knots, bounds=bounds))
    assert set(usual.basis) == {
        ("age", "below 45"),
        ("age", "from 18 to 90"),
        ("age", "above 45"),
    }
    assert list(DEFAULT.against(usual)) == []
    assert behind(case("combat", n=N, covariates=("age",))).basis == {}


def test_parts_and_persons_count() -> None:
    """Catches sessions that count as people, and a curve that is counted over the fit alone."""
    ages = np.concatenate([np.linspace(20, 44, 28), np.linspace(62, 80, 12)])
    study = aged(ages, knots=(30, 45, 60), bounds=(18, 90))
    schema = direct(study, study.tables()).plan.schema
    table = study.tables()["site-b0"]
    twice = replace(
        table, people=np.concatenate([table.people[:28], np.repeat(table.people[28:34], 2)])
    )
    whole, doubled = (
        counts(t, schema, group="fit").basis["age", "above 45"] for t in (table, twice)
    )
    assert 3 < doubled < whole
    fit = np.arange(40) < 37
    found = groups(table, schema, {"fit": fit, "held out": ~fit})
    words = [w for part in found for w in DEFAULT.against(part)]
    assert any("held out in effect with age above 45" in w for w in words)


@settings(max_examples=40, deadline=None)
@given(spline=splines(), data=st.data())
def test_the_functions_are_of_the_space(spline: Spline, data: st.DataObject) -> None:
    """Catches a function that no study can make up, and one with more support than its name."""
    at = spline.every_knot
    width = at[-1] - at[0]
    x = np.linspace(at[0] - width / 3, at[-1] + width / 3, 600)
    columns = np.column_stack(
        [np.ones_like(x), (spline.design(x) - at[0] * np.eye(1, len(at) - 1)) / width]
    )
    columns[:, 2:] *= width
    for where, values in least_supported(at, x):
        values = values / values.max()
        again = columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
        np.testing.assert_allclose(again, values, atol=1e-7)
        word, first, *rest = where.split()
        low = -np.inf if word == "below" else float(first)
        high = float(rest[-1]) if rest else float(first) if word == "below" else np.inf
        near = 1e-5 * width
        assert (values[(x < low - near) | (x > high + near)] == 0).all()
        assert (values[(x > low + near) & (x < high - near)] > 0).all()


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30))
def test_effective_people(weights: list[float]) -> None:
    """Catches a count that units change, that is more than people, or less than one."""
    w = np.array(weights)
    person = np.arange(len(w))
    n = effective_people(w, person)
    assert 1 - 1e-9 <= n <= len(w) + 1e-9
    assert effective_people(w * 1e-250, person) == pytest.approx(n)
    assert effective_people(np.full(7, 3.0), np.arange(7)) == pytest.approx(7)
    assert effective_people(np.zeros(3), np.arange(3)) == 0
    assert effective_people(np.ones(6), np.array([0, 0, 1, 1, 2, 2])) == pytest.approx(3)

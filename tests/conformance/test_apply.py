"""A fitted model harmonizes later people of known batches, new scanners and unseen sites."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import BATTERY, METHODS, MISSING_CELLS, Case, battery_id, case
from conformance.direct import Direct, direct
from motet.client.apply import harmonized
from motet.harmonizer import SiteModel
from motet.phases import walk

RELATIVE = 1e-12


def applied(
    study: Case, fit: Direct, rows: Any, site: str, model: SiteModel | None
) -> tuple[np.ndarray, list[str]]:
    """Values of some rows, harmonized later at a site with its model or without one."""
    table = study.table(rows, site)
    said: list[str] = []
    out = np.empty((len(table), len(study.features)))
    for at, block in harmonized(
        table,
        method=fit.plan.harmonizer,
        params=fit.plan.params,
        schema=fit.plan.schema,
        shared=fit.shared,
        model=model,
        say=said.append,
    ):
        out[at] = block
    return out, said


@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
def test_people_of_known_batches_one_by_one(method: str, options: dict[str, Any]) -> None:
    """Catches an apply that needs the other people: a mean over the rows at hand, the training
    mean in the place of the person's own covariates, a level coded by what one person has."""
    missing = 0.05 if method in MISSING_CELLS else 0.0
    study = case(method, options, missing=missing, n=(6, 7, 5, 6))
    site_of = {"b0": "x", "b1": "y", "b2": "x", "b3": "z"}
    fit = direct(study, study.tables(site_of))
    for row in range(len(study.values)):
        site = site_of[study.batch[row]]
        values, said = applied(study, fit, [row], site, fit.models[site])
        np.testing.assert_array_equal(np.isnan(values[0]), np.isnan(study.values[row]))
        worst = np.nanmax(np.abs(values[0] - fit.values[row]) / study.scale)
        assert worst <= RELATIVE
        assert not said


def combat_by_hand(study: Case, fit: Direct, rows: np.ndarray, options: Any) -> np.ndarray:
    """The new batch's own location and scale, the shared alpha, beta and sigma as they are.

    Johnson 2007 in plain loops; the stop rule of the reference packages.
    """
    covariates = study.covariates.iloc[rows]
    W = np.column_stack(
        [covariates["age"]]
        + [(covariates["sex"] == "M")]
        + [(covariates["dx"] == level) for level in ("CN", "MCI")]
    ).astype(float)
    alpha, beta = fit.shared["alpha"], fit.shared["beta"]
    sigma = np.sqrt(fit.shared["var_pooled"])
    z = (study.values[rows] - alpha - W @ beta) / sigma
    n = len(z)
    gamma_hat, delta_hat = z.mean(axis=0), z.var(axis=0, ddof=1)
    gamma, delta = gamma_hat, delta_hat
    if options.get("prior") != "none":
        bar, tau2 = gamma_hat.mean(), gamma_hat.var(ddof=1)
        m, s2 = delta_hat.mean(), delta_hat.var(ddof=1)
        a, b = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
        change = 1.0
        while change > 1e-4:
            g = (tau2 * n * gamma_hat + delta * bar) / (tau2 * n + delta)
            d = (0.5 * ((z - g) ** 2).sum(axis=0) + b) / (n / 2 + a - 1)
            change = max((abs(g - gamma) / gamma).max(), (abs(d - delta) / delta).max())
            gamma, delta = g, d
    return sigma * (z - gamma) / np.sqrt(delta) + alpha + W @ beta


@pytest.mark.parametrize("known_site", [False, True], ids=["unseen site", "new scanner"])
@pytest.mark.parametrize("options", [{}, {"prior": "none"}], ids=["parametric", "no prior"])
def test_combat_joins_an_unseen_batch_by_the_formula(
    options: dict[str, Any], known_site: bool
) -> None:
    """Catches NaN or an IndexError (neuroHarmonize), the effects of another batch, and pooled
    estimates that move when a new batch comes."""
    whole = case("combat", options, n=(9, 12, 8, 10, 11))
    old = np.flatnonzero(whole.batch != "b4")
    rows = np.flatnonzero(whole.batch == "b4")
    study = replace(
        whole,
        values=whole.values[old],
        batch=whole.batch[old],
        covariates=whole.covariates.iloc[old],
    )
    fit = direct(study, study.tables())
    before = {name: array.tobytes() for name, array in fit.shared.items()}
    expected = combat_by_hand(whole, fit, rows, options)
    site = "site-b0" if known_site else "new-hospital"
    model = fit.models["site-b0"] if known_site else None
    values, said = applied(whole, fit, rows, site, model)
    assert (np.abs(values - expected).max(axis=0) / whole.scale).max() <= RELATIVE
    assert len(said) == 1
    assert "b4" in said[0]
    assert {name: array.tobytes() for name, array in fit.shared.items()} == before
    if known_site:
        mixed = np.sort(np.concatenate([rows, np.flatnonzero(whole.batch == "b0")]))
        both, _ = applied(whole, fit, mixed, site, model)
        new = whole.batch[mixed] == "b4"
        np.testing.assert_array_equal(both[new], values)
        own = fit.values[study.batch == "b0"]
        assert (np.abs(both[~new] - own).max(axis=0) / whole.scale).max() <= RELATIVE


@pytest.mark.parametrize("method", METHODS)
def test_unseen_site_gets_numbers_or_a_sentence(method: str) -> None:
    """Catches the IndexError of an unseen site. A method whose join needs an exchange says so."""
    study = case(method)
    fit = direct(study, study.tables({"b0": "x", "b1": "y", "b2": "x", "b3": "y"}))
    new = case(method, seed=9)
    exchange = any(p.leaves for p, _ in walk(fit.plan.harmonizer.join(fit.plan.params, None)))
    rows = np.flatnonzero(new.batch == "b2")
    if exchange:
        with pytest.raises(Exception, match="exchange"):
            applied(new, fit, rows, "elsewhere", None)
        return
    values, _ = applied(new, fit, rows, "elsewhere", None)
    assert np.isfinite(values).all()


def test_unseen_batch_with_missing_cells_and_one_person() -> None:
    """Catches a join that only knows complete tables of many people."""
    whole = case("combat", n=(9, 12, 8, 10))
    fit = direct(whole, whole.tables())
    new = case("combat", n=(7, 1), seed=5)
    values = new.values.copy()
    values[np.flatnonzero(new.batch == "b0")[:2], 3] = np.nan
    values[new.batch == "b0", 4] = np.nan
    new = replace(new, values=values)
    out, said = applied(new, fit, np.arange(8), "elsewhere", None)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(values))
    assert any("b1" in text and "one person" in text for text in said)
    assert any("f4" in text for text in said)


@pytest.mark.parametrize("method", METHODS)
def test_unseen_batch_alone_or_beside_others_is_the_same(method: str) -> None:
    """Catches effects estimated over all newcomers together instead of each scanner's own."""
    study = case(method)
    fit = direct(study, study.tables())
    new = case(method, seed=5)
    together, _ = applied(new, fit, np.arange(len(new.values)), "elsewhere", None)
    for batch in new.batches:
        rows = np.flatnonzero(new.batch == batch)
        alone, _ = applied(new, fit, rows, "elsewhere", None)
        assert (np.abs(alone - together[rows]).max(axis=0) / new.scale).max() <= RELATIVE

"""The site effect's figures beside a dense computation that shares no code with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from conformance.cases import Case, case
from motet.agreement import agree
from motet.bids.table import Table
from motet.cohort import in_fit
from motet.config import Evaluation
from motet.evaluation.site_effect import SiteEffect, site_effect
from motet.plan import Plan, build_plan


def plan_of(study: Case, tables: dict[str, Table], held_out: float = 0.0) -> Plan:
    asked = study.study.model_copy(update={"evaluation": Evaluation(held_out=held_out)})
    return build_plan(asked, agree([table.described for table in tables.values()]))


def judged(study: Case, after: np.ndarray | None = None, held_out: float = 0.0) -> SiteEffect:
    """The effects of a made-up study, with other values standing for the harmonized ones."""
    tables = study.tables()
    values = study.values if after is None else after
    harmonized = {site: values[table.rows] for site, table in tables.items()}
    return site_effect(tables, harmonized, plan_of(study, tables, held_out))


def residual(y: np.ndarray, X: np.ndarray) -> float:
    solution = np.linalg.lstsq(X, y, rcond=None)[0]
    return float(((y - X @ solution) ** 2).sum())


def dense(study: Case, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p values, partial eta squared and partial R squared of every feature, one at a time."""
    W = np.empty((len(values), 0))
    if len(study.covariates.columns):
        W = pd.get_dummies(study.covariates, drop_first=True).to_numpy(dtype=float)
    B = pd.get_dummies(study.batch).to_numpy(dtype=float)
    ones = np.ones((len(values), 1))
    p, eta, r2 = [], [], []
    for y in values.T:
        seen = np.isfinite(y)
        full = residual(y[seen], np.hstack([B, W])[seen])
        without_batch = residual(y[seen], np.hstack([ones, W])[seen])
        without_covariates = residual(y[seen], B[seen])
        df1, df2 = B.shape[1] - 1, seen.sum() - B.shape[1] - W.shape[1]
        F = (without_batch - full) / df1 / (full / df2)
        p.append(scipy.stats.f.sf(F, df1, df2))
        eta.append((without_batch - full) / without_batch)
        r2.append((without_covariates - full) / without_covariates)
    return np.array(p), np.array(eta), np.array(r2)


@pytest.mark.parametrize("covariates", [("age", "sex", "dx"), ("age",), ()])
def test_equals_a_dense_computation(covariates: tuple[str, ...]) -> None:
    """Catches wrong degrees of freedom, a wrong reduced model, and eta squared of the total."""
    study = case(n=(9, 12, 8, 10), p=41, covariates=covariates, seed=3)
    # Values without most of the batch effect, so that p values lie on both sides of 0.05.
    mean = pd.DataFrame(study.values).groupby(study.batch).transform("mean").to_numpy()
    after = study.values - 0.6 * (mean - study.values.mean(axis=0))
    found = judged(study, after)
    for effect, values in ((found.raw, study.values), (found.harmonized, after)):
        p, eta, r2 = dense(study, values)
        assert effect.share_significant == pytest.approx(np.mean(p < 0.05), abs=1e-12)
        assert effect.batch_eta2 == pytest.approx(np.median(eta), rel=1e-9)
        if covariates:
            assert effect.covariates_r2 == pytest.approx(np.median(r2), rel=1e-9)
        else:
            assert effect.covariates_r2 is None
    shares = (found.raw.share_significant, found.harmonized.share_significant)
    assert any(0.0 < share < 1.0 for share in shares)
    assert (found.n, found.features) == (39, 41)


def test_equals_one_way_anova() -> None:
    """Catches an F test that only agrees with itself: scipy's own, without covariates."""
    study = case(n=(9, 12, 8, 10), p=60, covariates=(), seed=4)
    study = replace(study, values=study.values * 0 + np.random.default_rng(0).normal(size=(39, 60)))
    groups = [study.values[study.batch == name] for name in study.batches]
    p = scipy.stats.f_oneway(*groups).pvalue
    assert 0 < np.mean(p < 0.05) < 0.2
    assert judged(study).raw.share_significant == np.mean(p < 0.05)


def test_chance_is_five_percent() -> None:
    """Catches a test that finds a site effect where there is none, or never finds one."""
    shares = []
    for seed in range(4):
        study = case(n=(20, 30, 25), p=1000, covariates=("age", "sex"), seed=seed)
        noise = np.random.default_rng(seed).normal(5, 2, study.values.shape)
        noise += 0.1 * study.covariates["age"].to_numpy()[:, None]
        shares.append(judged(replace(study, values=noise)).raw.share_significant)
    # 4000 independent tests: 5 % with a standard error of 0.35 %.
    assert np.mean(shares) == pytest.approx(0.05, abs=0.0125)


def test_covariate_that_differs_between_sites_is_no_site_effect() -> None:
    """Catches batches tested without the covariates: hospitals of old people would be scanners."""
    rng = np.random.default_rng(5)
    study = case(n=(40, 40), p=300, covariates=("age",))
    age = np.where(study.batch == "b0", rng.uniform(20, 45, 80), rng.uniform(40, 80, 80))
    values = rng.normal(size=(80, 300)) + 0.1 * age[:, None]
    study = replace(study, covariates=pd.DataFrame({"age": age}), values=values)
    found = judged(study).raw
    assert found.share_significant < 0.1
    assert found.covariates_r2 is not None
    assert found.covariates_r2 > 0.2


def test_held_out_people_only() -> None:
    """Catches the judgement on the people of the fit, on whom ComBat looks better than it is."""
    study = case(n=(40, 40, 40), p=10, covariates=("age",), seed=6)
    found = judged(study, held_out=0.4)
    tables = study.tables()
    rows = np.concatenate(
        [t.rows[~in_fit(t.people, held_out=0.4, seed=study.seed)] for t in tables.values()]
    )
    assert found.people == "held out"
    assert found.n == len(rows)
    part = replace(
        study,
        values=study.values[rows],
        batch=study.batch[rows],
        covariates=study.covariates.iloc[rows].reset_index(drop=True),
    )
    p, eta, r2 = dense(part, part.values)
    assert found.raw.share_significant == pytest.approx(np.mean(p < 0.05))
    assert found.raw.batch_eta2 == pytest.approx(np.median(eta), rel=1e-9)
    assert found.raw.covariates_r2 == pytest.approx(np.median(r2), rel=1e-9)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_features_with_missing_cells() -> None:
    """Catches features that lack a value of somebody being left out of the judgement."""
    study = case(n=(20, 25, 22), p=30, covariates=("age", "sex"), missing=0.05, seed=7)
    found = judged(study)
    p, eta, _ = dense(study, study.values)
    assert found.features == 30
    assert found.raw.share_significant == pytest.approx(np.mean(p < 0.05))
    assert found.raw.batch_eta2 == pytest.approx(np.median(eta), rel=1e-9)


@pytest.mark.parametrize("location", [1e6, -1e8])
def test_large_location(location: float) -> None:
    """Catches a difference of large sums: volumes are 10^6 mm3 with a spread of little."""
    study = case(n=(15, 15), p=20, covariates=("age",), seed=8)
    values = np.random.default_rng(1).normal(size=(30, 20))
    near = judged(replace(study, values=values)).raw
    far = judged(replace(study, values=values + location)).raw
    assert far.batch_eta2 == pytest.approx(near.batch_eta2, rel=1e-5)
    assert far.share_significant == near.share_significant


def test_perfect_fit_and_constant_feature() -> None:
    """Catches 0 / 0: a feature that the batches explain without a rest, and a constant one."""
    study = case(n=(8, 9), p=3, covariates=("age",), seed=9)
    values = study.values.copy()
    values[:, 0] = np.where(study.batch == "b0", 1.0, 2.0)
    values[:, 1] = 4.0
    with np.errstate(all="raise"):
        found = judged(replace(study, values=values))
    assert found.features == 2
    assert np.isfinite([found.raw.batch_eta2, found.raw.share_significant]).all()

"""Options of ComBat that the golden files do not have: prior pools, and very large batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import motet
from motet.cohort import in_fit
from reference.dense_combat import dense_combat


def table(n: tuple[int, ...], p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Values (n, p), batch and covariates, every batch with a shift and a scale of its own."""
    rng = np.random.default_rng(seed)
    batch = np.repeat([f"scanner {i}" for i in range(len(n))], n)
    covariates = pd.DataFrame(
        {"age": rng.uniform(20, 80, sum(n)), "sex": rng.choice(["F", "M"], sum(n))}
    )
    values = rng.standard_normal((sum(n), p)) + 0.02 * covariates["age"].to_numpy()[:, None]
    for i, name in enumerate(np.unique(batch)):
        rows = batch == name
        values[rows] = values[rows] * rng.gamma(9, 1 / 9, p) + rng.normal(i, 0.5, p)
    return values, batch, covariates


def columns(covariates: pd.DataFrame) -> np.ndarray:
    return np.column_stack([covariates["age"], covariates["sex"] == "M"]).astype(float)


@pytest.mark.parametrize("prior", ["parametric", "nonparametric"])
def test_every_group_of_features_has_a_prior_of_its_own(prior: str) -> None:
    """Catches one pool for all, and the features that no group names being left out."""
    values, batch, covariates = table((20, 25, 18), 12)
    names = [f"thick{j}" for j in range(5)] + [f"vol{j}" for j in range(4)] + list("xyz")
    frame = pd.DataFrame(values, columns=names)
    groups = {"thickness": ["thick*"], "volume": ["vol0", "vol[1-3]"]}
    found = motet.harmonize(
        frame, batch=batch, covariates=covariates, prior=prior, feature_groups=groups
    )
    labels = np.repeat([0, 1, 2], [5, 4, 3])
    expected, _ = dense_combat(values, batch, columns(covariates), prior=prior, groups=labels)
    one_pool, _ = dense_combat(values, batch, columns(covariates), prior=prior)
    np.testing.assert_allclose(found.to_numpy(), expected, rtol=0, atol=1e-11)
    assert np.abs(expected - one_pool).max() > 1e-3


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ({"a": ["thik*"]}, "No feature matches 'thik\\*'"),
        ({"a": ["thick*"], "b": ["thick1"]}, "'thick1' is in two groups, 'a' and 'b'"),
    ],
)
def test_groups_that_cannot_be_are_named(groups: dict[str, list[str]], says: str) -> None:
    """Catches a misspelled pattern that would quietly leave its features to the common pool."""
    values, batch, covariates = table((20, 25), 3)
    frame = pd.DataFrame(values, columns=["thick0", "thick1", "thick2"])
    with pytest.raises(motet.MotetError, match=says):
        motet.harmonize(frame, batch=batch, covariates=covariates, feature_groups=groups)


def test_large_batches_stay_numbers_without_a_parametric_prior() -> None:
    """Catches the likelihood of 1,500 people, which is 0 in double precision: every value NaN."""
    values, batch, covariates = table((1500, 1500), 60)
    found = motet.harmonize(values, batch=batch, covariates=covariates, prior="nonparametric")
    assert np.isfinite(found).all()
    expected, _ = dense_combat(values, batch, columns(covariates), prior="nonparametric")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_a_single_feature_is_adjusted_without_a_prior() -> None:
    """Catches NaN, which neuroCombat gives for one feature: a prior needs two."""
    values, batch, covariates = table((20, 25), 1)
    found = motet.harmonize(values, batch=batch, covariates=covariates)
    none = motet.harmonize(values, batch=batch, covariates=covariates, prior="none")
    np.testing.assert_array_equal(found, none)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("prior", ["parametric", "nonparametric", "none"])
def test_a_batch_that_the_covariates_explain_does_not_hang_on_the_last_bit(prior: str) -> None:
    """Catches rounding that decides which features join a prior: two people, of whom one has a
    level that nobody else has. Renaming the sites changed the result by 0.2 sd."""
    rng = np.random.default_rng(5)
    values = rng.standard_normal((26, 12)) + 3
    covariates = pd.DataFrame(
        {"dx": ["a", "b"] * 12 + ["a", "rare"], "age": rng.uniform(20, 80, 26)}
    )
    batch = np.array(["m"] * 12 + ["n"] * 12 + ["c"] * 2)
    results = []
    for name in ("c", "o", "z"):
        renamed = np.where(batch == "c", name, batch)
        results.append(motet.harmonize(values, batch=renamed, covariates=covariates, prior=prior))
    np.testing.assert_allclose(results[1], results[0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(results[2], results[0], rtol=0, atol=1e-10)


def test_age_that_varies_among_held_out_people_only(tmp_path: Path) -> None:
    """Catches an effect of age estimated from what rounding leaves of a constant."""
    sites = {}
    for name in ("a", "b"):
        rng = np.random.default_rng(len(name))
        ids = [f"sub-{name}{i}" for i in range(40)]
        fit = in_fit(np.array(ids), held_out=0.3, seed=0)
        folder = tmp_path / name
        folder.mkdir()
        ages = np.where(fit, 61.1, rng.uniform(20, 80, 40))
        pd.DataFrame({"participant_id": ids, "age": ages}).to_csv(
            folder / "participants.tsv", sep="\t", index=False
        )
        table = pd.DataFrame(rng.standard_normal((40, 3)), columns=["x", "y", "z"])
        table.insert(0, "participant_id", ids)
        table.to_csv(folder / "features.tsv", sep="\t", index=False)
        sites[name] = str(folder)
    study = {
        "study": "s",
        "method": "combat",
        "params": {"covariates": ["age"]},
        "sites": sites,
        "evaluation": {"held_out": 0.3},
    }
    with pytest.raises(motet.MotetError, match="'age' is constant within every batch"):
        motet.simulate(study)


def test_a_feature_that_few_batches_have_does_not_stop_the_study() -> None:
    """Catches counting batches in which nobody has the feature."""
    values, batch, covariates = table((8,) * 12, 5)
    values[batch != "scanner 3", 0] = np.nan
    found = motet.harmonize(values, batch=batch, covariates=covariates[["age"]])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))

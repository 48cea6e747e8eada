"""The same from Python: DataFrames and arrays in, the same out, and nothing printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import motet
from e2e.consortium import (
    FEATURES,
    SITES,
    consortium,
    files,
    people_of,
    read_values,
    succeeded,
    write_site,
)
from motet.estimator import NotFittedError


@pytest.fixture(autouse=True)
def _silent(capfd: pytest.CaptureFixture[str]) -> None:
    """Catches a library that prints."""
    yield
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""


def pooled(sites: tuple[str, ...] = SITES, n: int = 20) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features and people (age, sex, site) of several sites, rows mixed, with an index."""
    parts = [people_of(site, n) for site in sites]
    people = pd.concat([p.assign(site=s) for (p, _), s in zip(parts, sites, strict=True)])
    people = people.set_index("participant_id")
    features = pd.DataFrame(np.vstack([v for _, v in parts]), people.index, list(FEATURES))
    order = np.random.default_rng(1).permutation(len(people))
    return features.iloc[order], people.iloc[order]


def test_harmonize_keeps_index_and_columns() -> None:
    """Catches rows or names in another order, and a DataFrame of the caller that changed."""
    features, people = pooled()
    before = features.copy()
    out = motet.harmonize(features, batch=people["site"], covariates=people[["age", "sex"]])
    pd.testing.assert_index_equal(out.index, features.index)
    pd.testing.assert_index_equal(out.columns, features.columns)
    pd.testing.assert_frame_equal(features, before)
    spread = [frame.groupby(people["site"]).mean().std().mean() for frame in (features, out)]
    assert spread[1] < spread[0] / 5
    array = motet.harmonize(
        features.to_numpy(), batch=people["site"].tolist(), covariates=people[["age", "sex"]]
    )
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, out.to_numpy())


def test_harmonize_numbers_instead_of_names() -> None:
    """Catches columns 0, 1, 2 and batches 1, 2.0 that a DataFrame may well have."""
    features, people = pooled()
    expected = motet.harmonize(features, batch=people["site"], covariates=people[["age"]])
    numbered = features.set_axis(range(4), axis=1).reset_index(drop=True)
    batch = people["site"].map({"ash": 3, "birch": 1, "cedar": 2}).to_numpy()
    covariates = people[["age"]].reset_index(drop=True)
    for labels in (batch, batch.astype(float), [str(b) for b in batch]):
        out = motet.harmonize(numbered, batch=labels, covariates=covariates)
        assert list(out.columns) == [0, 1, 2, 3]
        np.testing.assert_allclose(out.to_numpy(), expected.to_numpy(), rtol=1e-12)
    integers = (numbered * 1000).astype(int)
    out = motet.harmonize(integers, batch=batch)
    assert (out.dtypes == np.float64).all()


def test_harmonize_into_a_file(tmp_path: Path) -> None:
    """Catches 'out' being filled by a copy: results larger than memory would not fit."""
    features, people = pooled()
    values = features.to_numpy()
    out = np.lib.format.open_memmap(
        tmp_path / "out.npy", mode="w+", dtype=np.float64, shape=values.shape
    )
    returned = motet.harmonize(values, batch=people["site"], out=out)
    assert returned is out
    np.testing.assert_array_equal(
        np.load(tmp_path / "out.npy"), motet.harmonize(values, batch=people["site"])
    )
    for wrong in (np.empty((3, 4)), np.empty(values.shape, dtype=np.float32)):
        with pytest.raises(motet.MotetError, match="'out' has shape"):
            motet.harmonize(values, batch=people["site"], out=wrong)


def test_covariate_types() -> None:
    """Catches a code of 1, 2, 3 that is harmonized as a number although said to be a category."""
    features, people = pooled()
    code = pd.DataFrame({"code": np.arange(len(people)) % 3 + 1}, people.index)
    features = features.add(0.3 * (code["code"] == 2), axis=0)
    words = {1: "one", 2: "two", 3: "three"}
    batch = people["site"]
    as_text = motet.harmonize(features, batch=batch, covariates=code.replace({"code": words}))
    as_number = motet.harmonize(features, batch=batch, covariates=code)
    for types in ({"code": "categorical"}, {"code": ("1", "2", "3")}):
        said = motet.harmonize(features, batch=batch, covariates=code, covariate_types=types)
        np.testing.assert_allclose(said, as_text, rtol=1e-10)
    assert np.abs(as_number - as_text).to_numpy().max() > 1e-4


def test_type_of_a_covariate_that_is_not_there() -> None:
    """Catches a misspelled name in covariate_types: the code would quietly stay a number."""
    features, people = pooled()
    code = pd.DataFrame({"code": np.arange(len(people)) % 3 + 1}, people.index)
    types = {"cod": "categorical"}
    with pytest.raises(motet.MotetError, match="'code'"):
        motet.harmonize(features, batch=people["site"], covariates=code, covariate_types=types)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch": ["a", "b"]}, "'batch' has 2 entries"),
        ({"batch": ["a"] * 60}, "one batch"),
        ({"batch": ["a", None] * 30}, "row 1"),
        ({"covariates": pd.DataFrame({"age": [1.0]})}, "'covariates' has 1 rows"),
        ({"covariates": pd.DataFrame({"age": range(60)})}, "different indexes"),
        ({"method": "conbat"}, "Did you mean 'combat'?"),
        ({"pryor": "none"}, "Did you mean 'prior'?"),
        ({"reference": "bitch"}, "'bitch'"),
    ],
)
def test_wrong_arguments(change: dict[str, object], named: str) -> None:
    """Catches a traceback from inside numpy or pandas for an argument that does not fit."""
    features, people = pooled()
    with pytest.raises(motet.MotetError) as error:
        motet.harmonize(**{"features": features, "batch": people["site"], **change})
    assert named in str(error.value)


def test_wrong_values() -> None:
    """Catches an infinity that spreads to everybody, and an error without row and feature."""
    features, people = pooled()
    features.iloc[17, 2] = np.inf
    with pytest.raises(motet.MotetError) as error:
        motet.harmonize(features, batch=people["site"])
    assert "row 17" in str(error.value)
    assert FEATURES[2] in str(error.value)
    with pytest.raises(motet.MotetError, match="numbers"):
        motet.harmonize(features.astype(object).assign(site="x"), batch=people["site"])
    with pytest.raises(motet.MotetError, match="1 dimension"):
        motet.harmonize(features["lh_insula"].to_numpy(), batch=people["site"])


def test_simulate_a_dictionary(tmp_path: Path) -> None:
    """Catches a study in memory and the same study as a file giving different results."""
    path = consortium(tmp_path, evaluation={"held_out": 0.2})
    study = {
        "study": "made-up",
        "method": "combat",
        "params": {"covariates": ["age", "sex"]},
        "sites": {site: str(tmp_path / "data" / site) for site in SITES},
        "evaluation": {"held_out": 0.2, "metrics": "none"},
        "seed": 1,
    }
    before = files(tmp_path)
    result = motet.simulate(study)
    assert files(tmp_path) == before
    assert set(result.values) == set(result.models) == set(SITES)
    from_file = motet.simulate(path, out=tmp_path / "out")
    assert from_file.sha256 == result.sha256
    assert from_file.site_effect is not None
    assert from_file.site_effect.harmonized.batch_eta2 < from_file.site_effect.raw.batch_eta2
    for site in SITES:
        written = read_values(tmp_path / "out/sites" / site / "harmonized")
        np.testing.assert_array_equal(written.to_numpy(), result.values[site])
    with pytest.raises(motet.MotetError, match="Did you mean 'method'"):
        motet.simulate({**study, "methd": "combat"})


def test_estimator_equals_apply(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Catches transform being another formula than 'motet apply': new people of a known site,
    and a whole site that was not in the fit."""
    path = consortium(tmp_path, n=20)
    succeeded("simulate", path, "--out", tmp_path / "out")
    features, people = pooled()
    features, people = features.sort_index(), people.sort_index()
    combat = motet.FeatureHarmonizer()
    fitted = combat.fit_transform(features, batch=people["site"], covariates=people[["age", "sex"]])
    for site in SITES:
        written = read_values(tmp_path / "out/sites" / site / "harmonized")
        np.testing.assert_allclose(fitted.loc[written.index], written, rtol=1e-12)
    for site in ("birch", "dune"):
        new, values = people_of(site, 9, seed=5)
        data = write_site(tmp_path / "new" / site, new, values)
        done = tmp_path / f"{site}-done"
        succeeded("apply", data, done, "participant", "--model", tmp_path / "out")
        frame = pd.DataFrame(values, columns=list(FEATURES))
        out = combat.transform(frame, batch=[site] * 9, covariates=new[["sex", "age"]])
        np.testing.assert_allclose(out, read_values(done), rtol=1e-12)
        pd.testing.assert_index_equal(out.index, frame.index)
    capfd.readouterr()


def test_estimator_as_scikit_learn_wants_it() -> None:
    """Catches a constructor that changes its arguments, state that clone keeps, and fit order."""
    features, people = pooled()
    known = {"batch": people["site"], "covariates": people[["age"]]}
    combat = motet.FeatureHarmonizer(params={"prior": "none"}, seed=3)
    with pytest.raises(NotFittedError, match="fit"):
        combat.transform(features, **known)
    assert combat.fit(features, **known) is combat
    once = combat.fit_transform(features, **known)
    np.testing.assert_allclose(once, combat.transform(features, **known), rtol=1e-12)
    assert combat.n_features_in_ == 4
    assert list(combat.feature_names_in_) == list(FEATURES)
    assert combat.get_params()["params"] == {"prior": "none"}
    assert combat.set_params(seed=4).seed == 4
    with pytest.raises(ValueError, match="Did you mean 'params'"):
        combat.set_params(parms={})
    base = pytest.importorskip("sklearn.base")
    copy = base.clone(combat)
    assert copy.get_params() == combat.get_params()
    assert not hasattr(copy, "shared_")
    exceptions = pytest.importorskip("sklearn.exceptions")
    with pytest.raises((exceptions.NotFittedError, ValueError)):
        copy.transform(features, **known)

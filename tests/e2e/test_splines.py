"""A covariate as a curve, as a person would ask for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import motet
from e2e.consortium import SITES, applied, consortium, people_of, read_values, succeeded, write_site

KNOTS = {"knots": [40, 55], "bounds": [20, 80]}


def test_from_the_study_file_to_new_people(tmp_path: Path) -> None:
    """Catches knots that a plan does not print, that a model forgets, and a curve that is another
    from Python."""
    params = {"covariates": {"age": KNOTS, "sex": "categorical"}}
    study = consortium(tmp_path, n=24, params=params)
    said = "age (natural cubic spline, knots 40, 55, linear below 20 and above 80)"
    assert said in succeeded("plan", study)
    succeeded("simulate", study, "--out", tmp_path / "out", "--reports", "later")
    write_site(tmp_path / "dune", *people_of("dune", 16))
    assert applied(tmp_path, "dune", "out").code == 0
    assert np.isfinite(read_values(tmp_path / "new")).to_numpy().all()
    people = {
        site: pd.read_csv(tmp_path / f"data/{site}/participants.tsv", sep="\t") for site in SITES
    }
    values = pd.concat(
        [pd.read_csv(tmp_path / f"data/{site}/features.tsv", sep="\t") for site in SITES]
    )
    frame = pd.concat([people[site].assign(site=site) for site in SITES]).reset_index(drop=True)
    values = values.drop(columns="participant_id").reset_index(drop=True)
    curve = motet.harmonize(
        values,
        batch=frame["site"],
        covariates=frame[["age", "sex"]],
        covariate_types={"age": motet.Spline(**KNOTS)},
    )
    line = motet.harmonize(values, batch=frame["site"], covariates=frame[["age", "sex"]])
    of_sites = np.vstack([read_values(tmp_path / "out/sites" / s / "harmonized") for s in SITES])
    np.testing.assert_allclose(curve, of_sites, rtol=1e-9)
    assert np.abs(curve - line).to_numpy().max() > 1e-4


def test_an_estimator_keeps_its_knots() -> None:
    """Catches an estimator that harmonizes new people along a straight line."""
    rng = np.random.default_rng(0)
    age, batch = rng.uniform(20, 80, 60), np.repeat(["a", "b", "c"], 20)
    X = rng.standard_normal((60, 4)) + 5 * np.cos(age / 9)[:, None]
    covariates = pd.DataFrame({"age": age})
    combat = motet.FeatureHarmonizer(covariate_types={"age": KNOTS})
    fitted = combat.fit_transform(X, batch=batch, covariates=covariates)
    again = combat.transform(X, batch=batch, covariates=covariates)
    np.testing.assert_allclose(again, fitted, rtol=1e-12)
    assert combat.shared_["beta"].shape == (3, 4)
    with pytest.raises(motet.MotetError, match="knots do not increase"):
        motet.harmonize(
            X,
            batch=batch,
            covariates=covariates,
            covariate_types={"age": {"knots": [50, 40], "bounds": [20, 80]}},
        )

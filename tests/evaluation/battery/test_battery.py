"""The whole battery on made-up consortia: what it finds, what it refuses, and that it repeats."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluation.battery.made_up import Consortium, consortium
from motet.errors import MotetError
from motet.evaluation.battery import batch_effect, battery, cross_validated, probes, splits
from motet.evaluation.result import Judgement

PROBES = ("linear_svm", "rbf_svm", "random_forest")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "TREES", 8)
    monkeypatch.setattr(splits, "ROUNDS", 1)
    monkeypatch.setattr(batch_effect, "NOISE", 400)


def judge(
    made: Consortium,
    layout: Mapping[str, str] | None = None,
    *,
    after: np.ndarray | None = None,
    **more: Any,
) -> Judgement:
    tables = made.tables(layout)
    values = made.truth if after is None else after
    return battery(
        {
            "raw": made.at_sites(made.values, layout),
            "local_only": made.at_sites(made.values.copy(), layout),
            "harmonized": made.at_sites(values, layout),
        },
        tables,
        fit=made.fit(layout),
        plan=made.plan(tables),
        settings=made.settings,
        **more,
    )


def test_planted_site_effect_and_its_removal() -> None:
    """Catches a battery that praises the raw data, or blames values without any site effect."""
    made = consortium((40, 50, 45), p=20, held_out=0.4)
    found = judge(made, truth=made.at_sites(made.truth))
    assert found.people == "held out"
    assert found.features == 20
    names = [*(f"site_accuracy_{p}" for p in PROBES)]
    names += ["anova_share", "kruskal_share", "anderson_darling_share", "batch_eta2"]
    names += ["manova_pillai", "silhouette"]
    for name in names:
        readings = found.metric(name).readings
        assert readings["raw"].value > readings["raw"].band[1], name
        assert readings["harmonized"].within_band, name
        assert readings["local_only"] == readings["raw"], name
    assert found.metric("site_accuracy_rbf_svm").chance == pytest.approx(1 / 3)
    assert found.metric("site_accuracy_rbf_svm").readings["demographics"].within_band
    truth = found.metric("mae_to_truth").readings
    assert truth["harmonized"].value == 0.0
    error = np.abs(made.values - made.truth)
    assert truth["raw"].value == pytest.approx((error / made.truth.std(axis=0)).mean(), rel=0.2)
    for column in ("age", "sex"):
        kept = found.metric(f"effect_kept_{column}").readings["harmonized"]
        assert kept.value > 0.8
    of_features = ("eta2", "anova_p", "levene_p", "effect/age", "effect/sex=M")
    versions = ("raw", "local_only", "harmonized")
    assert set(found.arrays) == {f"{v}/{k}" for v in versions for k in of_features}
    assert found.metric("r2_age").readings["raw"].interval is not None
    again = Judgement.from_json(json.loads(json.dumps(found.to_json())), found.arrays)
    assert again == found


def test_whole_sample_artefact_is_no_success() -> None:
    """Catches accuracy below chance that passes for a site effect removed."""
    made = consortium((40, 40, 40), p=20)
    mean = np.stack([made.values[made.batch == b].mean(axis=0) for b in ("b0", "b1", "b2")])
    code = np.array([int(b[1]) for b in made.batch])
    found = judge(made, after=made.values - mean[code])
    assert found.people == "all (fitted on them)"
    reading = found.metric("site_accuracy_linear_svm").readings["harmonized"]
    assert reading.within_band is False
    assert reading.value < reading.band[0]
    assert any("no success" in note for note in found.notes)
    assert any("Nobody was held out" in note for note in found.notes)
    assert found.metric("site_accuracy_linear_svm").readings["raw"].value > 0.8


def bytes_of(found: Judgement) -> tuple[str, dict[str, bytes]]:
    document = found.to_json()
    del document["notes"]  # they name batches, which are called otherwise at another site
    return json.dumps(document), {name: a.tobytes() for name, a in sorted(found.arrays.items())}


@pytest.mark.parametrize("held_out", [0.0, 0.4])
def test_same_bytes_however_batches_lie_at_sites(
    held_out: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a draw that knows the site, and a sum in the order of the sites."""
    monkeypatch.setattr(probes, "TREES", 3)
    monkeypatch.setattr(batch_effect, "NOISE", 100)
    made = consortium((11, 13, 12, 10), p=4, held_out=held_out)
    made = made.with_settings(permutations=6)
    first = bytes_of(judge(made))
    merged = {"b0": "z", "b1": "a", "b2": "z", "b3": "k"}
    assert bytes_of(judge(made, merged)) == first
    if held_out:
        assert bytes_of(judge(replace(made, seed=2))) != first


def test_missing_cells_one_person_batch_and_unseen_site() -> None:
    """Catches a study that is not tidy: nothing stops, and the notes say what was left out."""
    made = consortium((30, 34, 28, 1), p=8, held_out=0.35, biology=("sex",))
    values = made.values.copy()
    values[np.random.default_rng(0).random(values.shape) < 0.04] = np.nan
    values[:, 3] = 7.0
    truth = np.where(np.isnan(values), np.nan, made.truth)
    truth[:, 3] = 7.0
    made = replace(made, values=values, unseen=("site-b1",))
    found = judge(made, after=truth)
    assert found.features == 7
    assert np.isnan(found.arrays["raw/eta2"][3])
    assert np.isfinite(np.delete(found.arrays["raw/eta2"], 3)).all()
    assert found.metric("site_accuracy_random_forest").chance == pytest.approx(1 / 3)
    assert any("site-b3/b3" in note for note in found.notes)
    assert any("site-b1/b1" in note and "joined later" in note for note in found.notes)
    assert found.has("auc_sex")
    assert found.metric("site_accuracy_rbf_svm").readings["raw"].within_band is False


def test_no_covariates_and_too_few_people() -> None:
    """Catches a division by nobody: what cannot be judged is left out with a sentence."""
    made = consortium((2, 1), p=3)
    made = replace(made, covariates=made.covariates[[]])
    found = judge(made)
    assert found.metrics == ()
    assert len(found.notes) >= 3


def test_cross_validated_fits_on_the_others_only() -> None:
    """Catches a fold that is harmonized by a fit on its own people."""
    made = consortium((30, 30, 30), p=10)
    tables = made.tables()
    asked: list[np.ndarray] = []

    def centred(train: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        asked.append(np.concatenate([train[site] for site in sorted(train)]))
        raw = made.at_sites(made.values)
        return {site: raw[site] - raw[site][train[site]].mean(axis=0) for site in raw}

    found = cross_validated(
        {"harmonized": centred}, tables, plan=made.plan(tables), settings=made.settings
    )
    assert len(asked) == 5
    assert (np.sum(asked, axis=0) == 4).all()
    assert found.people == "held out"
    assert found.n == 90
    readings = found.metric("site_accuracy_random_forest").readings
    assert readings["raw"].value > 0.8
    assert readings["harmonized"].within_band
    assert found.metric("anova_share").readings["harmonized"].value < 0.3
    assert found.metric("anova_share").readings["raw"].value > 0.6
    assert "raw/eta2" in found.arrays
    assert "raw/anova_p" not in found.arrays


def test_travelers_are_judged() -> None:
    """Catches travelers who are in the tables and not in the judgement."""
    made = consortium((20, 20), p=3, held_out=0.4).with_settings(permutations=10)
    people = list(made.people)
    for a, b in zip(*(np.flatnonzero(made.batch == k)[:5] for k in ("b0", "b1")), strict=True):
        people[b] = people[a]
    sex = [("F", "M")[int(person[1:]) % 2] for person in people]
    found = judge(replace(made, people=people, covariates=made.covariates.assign(sex=sex)))
    assert found.metric("icc_travelers").readings["raw"].n == 5
    assert any("Travelers: 5 people" in note for note in found.notes)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an error that does not say what to do."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "motet.evaluation.battery.needs.find_spec",
        lambda name: None if name == "sklearn" else real(name),
    )
    with pytest.raises(MotetError, match=r"pip install 'motet\[report\]'"):
        judge(consortium((6, 6)))


def test_values_of_other_people_are_refused() -> None:
    """Catches rows that belong to nobody in the table."""
    made = consortium((6, 6), p=3)
    tables = made.tables()
    short = {site: values[:-1] for site, values in made.at_sites(made.truth).items()}
    given = {"raw": made.at_sites(made.values), "harmonized": short}
    with pytest.raises(MotetError, match="'harmonized' are"):
        battery(given, tables, fit=made.fit(), plan=made.plan(tables), settings=made.settings)
    with pytest.raises(MotetError, match="raw values"):
        battery({}, tables, fit=made.fit(), plan=made.plan(tables), settings=made.settings)

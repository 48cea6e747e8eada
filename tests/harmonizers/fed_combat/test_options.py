"""Fed-ComBat's options: what presets say, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import motet
from conformance.cases import case
from kernel.plans.catalog import SCHEMA
from motet.config import parse_study
from motet.errors import StudyFileError
from motet.harmonizers.fed_combat.params import FedComBatParams
from motet.harmonizers.fed_combat.training import train_phase
from motet.params import parse_params
from motet.training.networks import build, counted


def params(train: dict[str, Any] | None = None, **given: Any) -> FedComBatParams:
    study = {"study": "s", "method": "fed_combat", "params": given, "train": train or {}}
    return parse_params(parse_study(study))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"phi": "cubic"}, "phi"),
        ({"hidden": []}, "hidden"),
        ({"hidden": [8, 0]}, "hidden"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"feature_groups": {}}, "feature_groups"),
    ],
)
def test_refused_in_a_sentence(given: dict[str, Any], said: str) -> None:
    """Catches a network of no width, and an option of ComBat's that is silently ignored."""
    with pytest.raises(StudyFileError, match=said):
        params(**given)


@pytest.mark.parametrize(
    "given",
    [{"phi": "linear"}, {}, {"hidden": [5, 3]}, {"hidden": [4], "bias": False}],
    ids=str,
)
def test_size_in_the_plan_is_that_of_the_network(given: dict[str, Any]) -> None:
    """Catches a declared size that the first exchange would refuse."""
    train = train_phase(params(**given), SCHEMA)
    networks = build(train, SCHEMA.sizes, seed=0)
    assert train.groups[0].size == counted(networks.module, "phi")


def test_presets() -> None:
    """Catches a preset whose options are lost, and a line that takes Adam's steps for no reason."""
    paper = params({"preset": "paper"}, phi="linear")
    assert (paper.train.batch, paper.train.mode, paper.bias) == (16, "local", False)
    assert train_phase(paper, SCHEMA).updates[0].optimizer == {"name": "adam", "lr": 0.01}
    assert train_phase(paper, SCHEMA).exchanges(paper.train.steps) == 20
    small = params(phi="linear")
    assert small.newton
    assert train_phase(small, SCHEMA).updates[0].optimizer["name"] == "sgd"
    assert not params().newton
    assert not params({"batch": 32}, phi="linear").newton


def test_from_python() -> None:
    """Catches a section of the study file that Python cannot give."""
    study = case("combat", n=(20, 15, 12))
    given: dict[str, Any] = {"batch": study.batch, "covariates": study.covariates}
    expected = motet.harmonize(study.values, **given)
    how: dict[str, Any] = {"phi": "linear", "train": {"steps": 1}}
    found = motet.harmonize(study.values, method="fed_combat", **how, **given)
    assert (np.abs(found - expected) / study.scale).max() < 1e-10
    fitted = motet.FeatureHarmonizer("fed_combat", params=how).fit(study.values, **given)
    np.testing.assert_array_equal(fitted.transform(study.values, **given), found)
    with pytest.raises(StudyFileError, match="not trained"):
        motet.harmonize(study.values, train={"steps": 1}, **given)

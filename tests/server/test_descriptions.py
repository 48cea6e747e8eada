"""What a site says of its data is checked before the plan is made of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from conformance.cases import case
from conformance.federation import Federation
from conformance.hostile import document, on
from motet.errors import SchemaError
from motet.server.agreement import read_site_schema

STUDY = case(n=(9, 12, 8, 10), p=3)
BAD = "site-b2"
SPLINE = {"knots": [30], "bounds": [18, 90]}


def honest() -> Any:
    return {
        "features": ["f0", "f1", "f2"],
        "units": ["", "", ""],
        "covariates": [
            {"name": "age", "kind": "continuous", "levels": [], "varies": True},
            {"name": "sex", "kind": "categorical", "levels": ["F", "M"], "varies": True},
            {"name": "dx", "kind": "categorical", "levels": ["AD", "CN", "MCI"], "varies": True},
        ],
        "batches": ["b2"],
    }


def change(**replacements: Any) -> Any:
    return honest() | replacements


def covariates(edit: Callable[[Any], Any]) -> Any:
    described = honest()
    return described | {"covariates": edit(copy.deepcopy(described["covariates"]))}


def test_the_honest_description_is_taken() -> None:
    """Catches the cases below being refused for a reason that is not theirs."""
    federation = Federation(STUDY, alter={BAD: on("query.agree", document(json.dumps(honest())))})
    assert federation.run().missing == {}


LEFT_OUT = {
    "not an object": [],
    "no features": change(features=[]),
    "no batches": change(batches=[]),
    "features that are no text": change(features=[1, 2, 3]),
    "units for other features": change(units=["mm"]),
    "a key too many": honest() | {"people": ["Erika Mustermann"]},
    "a key too few": {k: v for k, v in honest().items() if k != "batches"},
    "a covariate's key too many": covariates(lambda c: [c[0] | {"mean": 3.2}, *c[1:]]),
    "an unknown kind": covariates(lambda c: [c[0] | {"kind": "ordinal"}, *c[1:]]),
    "a covariate too few": covariates(lambda c: c[:2]),
    "a covariate too many": covariates(lambda c: [*c, c[0] | {"name": "iq"}]),
    "covariates in another order": covariates(lambda c: [c[0], c[2], c[1]]),
    "no covariates": covariates(lambda c: []),
    "a feature twice": change(features=["f0", "f1", "f1"]),
    "a batch that is half a character": change(batches=["\ud800"]),
    "a batch that breaks the line": change(batches=["b2\nINFO all is well"]),
    "a batch that is a path": change(batches=["../../b2"]),
    "a feature that is half a character": change(features=["f0", "f1", "\ud800"]),
    "a spline that is none": covariates(lambda c: [c[0] | {"spline": {"knots": [3]}}, *c[1:]]),
    "a spline of a category": covariates(lambda c: [c[0], c[1] | {"spline": SPLINE}, c[2]]),
    "a batch twice": change(batches=["b2", "b2"]),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_impossible_description(what: str) -> None:
    """Catches an IndexError in the agreement, or the columns of one covariate taken for another's.

    The site is left out by name, or the study is refused in an error that names it."""
    alter = on("query.agree", document(json.dumps(LEFT_OUT[what])))
    federation = Federation(STUDY, alter={BAD: alter})
    try:
        left_out = federation.run().missing
    except SchemaError as error:
        left_out = {error.where.get("site"): error.code}
    # Half a character cannot be written as UTF-8: the message itself is refused.
    assert left_out == {BAD: "protocol" if "half" in what else "schema"}


@pytest.mark.parametrize(
    ("described", "named"),
    [
        (change(features=["f0", "f2", "f1"]), "f2"),
        (change(features=["f0", "f1"], units=["", ""]), "f2"),
        (change(features=["f0", "f1", "volume"]), "f2"),
    ],
)
def test_other_features_stop_the_study_and_are_named(described: Any, named: str) -> None:
    """Catches columns summed with other columns."""
    alter = on("query.agree", document(json.dumps(described)))
    with pytest.raises(SchemaError) as error:
        Federation(STUDY, alter={BAD: alter}).run()
    assert error.value.where == {"site": BAD, "feature": named}


def test_other_type_of_a_covariate_stops_the_study() -> None:
    """Catches sex coded 1 and 2 at one hospital and F and M at another."""
    numeric = covariates(lambda c: [c[0], c[1] | {"kind": "continuous", "levels": []}, c[2]])
    alter = on("query.agree", document(json.dumps(numeric)))
    with pytest.raises(SchemaError, match="sex") as error:
        Federation(STUDY, alter={BAD: alter}).run()
    assert error.value.where["site"] == BAD


def test_a_spline_that_nobody_asked_for_stops_the_study() -> None:
    """Catches columns of a curve summed with those of a line."""
    curved = covariates(lambda c: [c[0] | {"spline": SPLINE}, *c[1:]])
    alter = on("query.agree", document(json.dumps(curved)))
    with pytest.raises(SchemaError, match="'age' is a natural cubic spline, knots 30") as error:
        Federation(STUDY, alter={BAD: alter}).run()
    assert error.value.where["site"] == BAD


def test_the_error_does_not_repeat_what_was_sent() -> None:
    """Catches a validation message with the site's own words in the coordinator's log."""
    with pytest.raises(SchemaError) as error:
        read_site_schema("a", honest() | {"people": ["Erika Mustermann"]}, ("age", "sex", "dx"))
    assert "Erika" not in str(error.value)

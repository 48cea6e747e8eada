"""Networks see the features that everybody has: who lacks values is told of before they train."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from motet.errors import MotetError
from motet.simulation import Result, array_sink, run_sites


def fitted(**cells: Any) -> Result:
    """A fit of people at two sites, where these lack features; of the first, then of the other."""
    made = case("deepcombat", n=(20, 20), p=6, covariates=("age",))
    rows = np.argsort(made.batch, kind="stable")
    for people, features in cells.values():
        made.values[np.ix_(rows[people], features)] = np.nan
    values = np.empty_like(made.values)
    return run_sites(
        made.study,
        made.tables(),
        sink_of=lambda site: lambda table, about: array_sink(table, values),
    )


def test_somebody_without_any_value_is_named() -> None:
    """Catches one empty row that leaves all features to ComBat, without a word."""
    with pytest.raises(MotetError, match=r"No feature of .* has a value") as error:
        fitted(empty=([3], range(6)))
    assert str(error.value.where["person"]).startswith("sub-")
    assert error.value.where["site"] == "site-b0"


def test_networks_without_features_are_not_trained() -> None:
    """Catches a training on nothing, where two people lack half of the features each."""
    with pytest.raises(MotetError, match="None of the 6 features has a value of everybody"):
        fitted(one=([3], [0, 1, 2]), other=([30], [3, 4, 5]))


def test_a_site_hears_who_lacks_most() -> None:
    """Catches a report that counts features, and nobody who knows whose row it was."""
    found = fitted(one=([3, 5], [0]), other=([5], [1, 2]))
    said = [sentence for _, sentence in found.warnings if "networks do not see" in sentence]
    assert len(said) == 1
    assert "3 of 6 features" in said[0]
    assert said[0].endswith("lacks the most, 3.")

"""ComBat on real tables, against neuroCombat where that works and the dense oracle everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import motet
from reference import golden
from reference.dense_combat import dense_combat

pytestmark = [
    golden.needs_data,
    pytest.mark.parametrize("with_reference", [False, True], ids=["pooled", "reference"]),
    pytest.mark.parametrize("adjust", ["location_scale", "location"]),
    pytest.mark.parametrize("prior", ["parametric", "nonparametric", "none"]),
    pytest.mark.parametrize("name", list(golden.TABLES)),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with golden.one_thread():
        yield


def harmonized(data: golden.Table, options: dict[str, Any]) -> np.ndarray:
    return motet.harmonize(
        data.Y, batch=data.batch, covariates=data.covariates, method="combat", **options
    )


def options_for(data: golden.Table, prior: str, adjust: str, with_reference: bool) -> Any:
    reference = data.reference if with_reference else None
    return {"prior": prior, "adjust": adjust, "reference": reference}


def test_combat_equals_neurocombat(
    name: str, prior: str, adjust: str, with_reference: bool
) -> None:
    """On regular features nothing may differ but rounding; where the witness underflows, ours
    must still give numbers."""
    data = golden.table(name).regular()
    options = options_for(data, prior, adjust, with_reference)
    theirs = golden.neurocombat(data, **options)
    ours = harmonized(data, options)
    assert np.isfinite(ours).all()
    underflown = np.isnan(theirs)
    assert underflown.mean() <= (0.04 if prior == "nonparametric" else 0)
    assert np.nanmax(np.abs(ours - theirs) / data.sd) <= golden.TOLERANCE


def test_combat_equals_dense_oracle_on_all_features(
    name: str, prior: str, adjust: str, with_reference: bool
) -> None:
    """Missing cells, features constant in some sites or in all: a wrong count, pool or put-back
    shows in the features beside them too. A constant feature must come back bit for bit."""
    data = golden.table(name)
    options = options_for(data, prior, adjust, with_reference)
    expected, _ = dense_combat(data.Y, data.batch, data.W, **options)
    ours = harmonized(data, options)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(data.Y))
    assert (np.nan_to_num(np.abs(ours - expected)) <= golden.TOLERANCE * data.sd).all()

"""ComBat against the golden outputs of neuroCombat (Python, R) and of Matlab."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import motet
from reference import golden


@pytest.mark.parametrize("file", golden.golden_params())
def test_combat_equals_golden_file(file: golden.Golden) -> None:
    """An option wired to the wrong estimator, or a changed constant, differs from this file."""
    covariates = pd.DataFrame({"group": [f"g{level}" for level in golden.GROUP]})
    out = motet.harmonize(
        golden.read("testdata"),
        batch=golden.BATCH,
        covariates=covariates if file.covariates else None,
        method="combat",
        **file.options,
    )
    assert np.abs(out - file.expected()).max() <= file.tolerance

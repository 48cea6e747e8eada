"""What harmonization brings below zero is told of."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import motet
from motet.client import below_zero


@pytest.mark.parametrize(("chunk", "first"), [(1, 1), (1024, 64)])
@pytest.mark.parametrize(("lowest", "told"), [(0.0, True), (-0.1, False), (8.0, False)])
def test_of_features_that_were_nowhere_negative(
    lowest: float, told: bool, chunk: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a volume below zero without a word, and a warning of a feature that is negative as
    measured, or of one that stays above."""
    monkeypatch.setattr(below_zero, "CHUNK", chunk)
    monkeypatch.setattr(below_zero, "FIRST", first)
    rng = np.random.default_rng(0)
    scanner = np.repeat(["a", "b"], 40)
    x = rng.uniform(9, 11, (80, 3))
    x[40:, 1] += 9
    x[40, 1] = lowest
    x[5, 2] = np.nan
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = motet.harmonize(
            pd.DataFrame(x, columns=["thickness", "lesions", "t2"]),
            batch=scanner,
            adjust="location",
        )
    below = (made.to_numpy() < 0).sum(axis=0)
    assert below.tolist() == [0, 1 if lowest < 1 else 0, 0]
    said = [str(w.message) for w in caught if "below zero" in str(w.message)]
    assert len(said) == told
    if told:
        assert said[0].startswith("b: harmonized values of lesions lie below zero (1 in all)")

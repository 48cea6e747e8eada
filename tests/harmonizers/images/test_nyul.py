"""Nyul beside intensity-normalization 3.0.1, whose results are frozen in tests/reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.harmonizers.nyul.landmarks import landmarks, mapped, scaled
from reference.nyul.made_up import brains

FROZEN = Path(__file__).parents[2] / "reference/nyul/intensity_normalization_3_0_1.json"


def test_landmarks_and_images_are_theirs() -> None:
    """Catches other percentiles, another interpolation, and another extrapolation."""
    frozen = json.loads(FROZEN.read_text())
    made = [data[mask] for data, mask in brains()]
    scale = np.mean([scaled(landmarks(brain)) for brain in made], axis=0)
    np.testing.assert_allclose(scale, frozen["standard_scale"], rtol=0, atol=1e-6)
    for k, brain in enumerate(made):
        found = mapped(brain, scale)
        assert found.sum() == pytest.approx(frozen["sums"][k], rel=1e-9)
        assert (found**2).sum() == pytest.approx(frozen["squares"][k], rel=1e-9)
        assert [found.min(), found.max()] == pytest.approx(frozen["ends"][k], abs=1e-6)


@given(st.integers(0, 10_000), st.floats(0.1, 10.0), st.floats(-100.0, 100.0))
def test_gain_and_offset_do_not_matter(seed: int, gain: float, offset: float) -> None:
    """Catches a landmark that is not on the image's own scale."""
    brain = np.random.default_rng(seed).gamma(3.0, 20.0, 500)
    scale = scaled(landmarks(np.random.default_rng(seed + 1).gamma(2.0, 30.0, 500)))
    expected = mapped(brain, scale)
    np.testing.assert_allclose(mapped(gain * brain + offset, scale), expected, atol=1e-6)
    assert (np.diff(expected[np.argsort(brain)]) >= -1e-9).all()


def test_many_voxels_of_one_intensity() -> None:
    """Catches a division by the distance of two equal landmarks."""
    brain = np.concatenate([np.zeros(600), np.arange(1.0, 401.0)])
    found = mapped(brain, np.linspace(1.0, 100.0, 11))
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()
    assert np.isfinite(mapped(np.full(10, 3.0), np.linspace(1.0, 100.0, 11))).all()

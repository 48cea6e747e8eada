"""The one segmenter, and the measures that judge images."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from motet.images.measures import measures, names
from motet.images.tissues import boundaries, order_of, segment


def three(rng: np.random.Generator, n: int = 3000) -> np.ndarray:
    means = np.array([20.0, 60.0, 100.0])
    return means[rng.integers(0, 3, n)] + rng.normal(0, 4, n)


@given(st.integers(0, 1000), st.floats(0.01, 100.0), st.floats(-1000.0, 1000.0))
def test_scale_does_not_matter(seed: int, gain: float, offset: float) -> None:
    """Catches a segmenter that favours an intensity, and so a method."""
    values = three(np.random.default_rng(seed))
    found = boundaries(values)
    assert 30 < found[0] < 50 < 70 < found[1] < 90
    moved = boundaries(gain * values + offset)
    np.testing.assert_allclose(moved, gain * found + offset, rtol=1e-6, atol=1e-6 * gain)


def test_is_k_means() -> None:
    """Catches boundaries that are not midway between the means of their classes."""
    rng = np.random.default_rng(5)
    values = three(rng, 50_000)
    classes = segment(values)
    means = [values[classes == k].mean() for k in range(3)]
    midway = [(a + b) / 2 for a, b in itertools.pairwise(means)]
    np.testing.assert_allclose(boundaries(values), midway, atol=0.3)
    half = np.concatenate([np.zeros(6000), rng.normal(60, 3, 2500), rng.normal(100, 3, 1500)])
    assert np.abs(np.bincount(segment(half)) - [6000, 2500, 1500]).max() < 30
    assert segment(np.full(9, 3.0)).tolist() == [0] * 9


def test_contrasts() -> None:
    """Catches CSF that is measured as white matter where it is bright."""
    rng = np.random.default_rng(6)
    t1 = three(rng)
    found = {
        contrast: dict(
            zip(names(contrast), measures(t1, contrast=contrast, voxel=8.0), strict=True)
        )
        for contrast in ("T1w", "T2w")
    }
    assert order_of("T2w") == ("wm", "gm", "csf")
    assert found["T1w"]["T1w_csf_volume"] == found["T2w"]["T2w_wm_volume"]
    assert found["T1w"]["T1w_gm_volume"] == (segment(t1) == 1).sum() * 8 / 1000
    flat = measures(np.full(50, 7.0), contrast="T1w", voxel=1.0)
    assert np.isnan(flat).any()  # tissues that are not there have no intensity

"""Slices of one size and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.images.slices import PLANES, Plane, Slicing


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    plane=st.sampled_from(PLANES),
    size=st.integers(1, 12),
)
def test_round_trip_changes_nothing(shape: tuple[int, ...], plane: Plane, size: int) -> None:
    """Catches a voxel that moves by one where sizes are odd, and one that is lost at an edge."""
    volume = np.random.default_rng(sum(shape)).normal(size=shape)
    slicing = Slicing(shape=shape, plane=plane, size=size)
    out = volume.copy()
    cut = list(slicing.slices(volume, outside=-9.0))
    assert len(cut) == len(slicing) == shape[PLANES.index(plane)]
    for index, pixels in enumerate(cut):
        assert pixels.shape == (size, size)
        slicing.put(out, index, pixels)
    np.testing.assert_array_equal(out, volume)
    for index, pixels in enumerate(cut):
        slicing.put(out, index, pixels + 1.0)
    moved = out - volume
    shown = np.prod([min(n, size) for axis, n in enumerate(shape) if axis != PLANES.index(plane)])
    assert np.isclose(moved, 1.0).sum() == shown * len(slicing)
    assert (np.isclose(moved, 1.0) | (moved == 0.0)).all()


@pytest.mark.parametrize("plane", PLANES)
def test_planes_are_those_of_anatomy(plane: Plane) -> None:
    """Catches an axial slice that is coronal."""
    volume = np.zeros((4, 5, 6))
    axis = PLANES.index(plane)
    np.moveaxis(volume, axis, 0)[1] = 1.0
    slicing = Slicing(shape=volume.shape, plane=plane, size=8)
    sums = [float(pixels.sum()) for pixels in slicing.slices(volume)]
    assert [i for i, total in enumerate(sums) if total] == [1]
    assert sums[1] == volume.size / volume.shape[axis]


@pytest.mark.parametrize("length", [4, 5])
@pytest.mark.parametrize("size", [3, 4, 7, 8])
def test_middle_stays_in_the_middle(length: int, size: int) -> None:
    """Catches a pad or cut at one end only."""
    volume = np.zeros((1, length, length))
    volume[0, (length - 1) // 2, (length - 1) // 2] = 1.0
    pixels = Slicing(shape=volume.shape, plane="sagittal", size=size).slice(volume, 0)
    assert pixels[(size - 1) // 2, (size - 1) // 2] == 1.0

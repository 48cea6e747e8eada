"""Slices that are made once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from conformance.brains import opened, study_of, write_brains
from motet.images.cache import slice_cache
from motet.images.images import Images
from motet.images.slices import PLANES, Slicing


@pytest.fixture
def images(tmp_path: Path) -> Images:
    folder = write_brains(tmp_path / "ash", batches={"b0": 2, "b1": 1})
    return opened(folder, study_of("z_score", {}))


@pytest.mark.parametrize("plane", PLANES)
def test_slices_are_those_of_the_images(plane: str, images: Images, tmp_path: Path) -> None:
    """Catches a slice of another person or place, empty ones, and another size."""
    made = slice_cache(images, tmp_path / "cache", plane=plane, size=18)
    assert made.slices.dtype == np.float32
    assert not made.slices.flags.writeable
    assert isinstance(made.slices, np.memmap)
    volumes = list(images.each())
    expected = []
    for row, image in enumerate(volumes):
        slicing = Slicing(shape=image.data.shape, plane=plane, size=18)
        for index in range(len(slicing)):
            if slicing.slice(image.mask, index).any():
                expected.append((row, index, slicing.slice(image.data, index)))
    assert len(made) == len(expected)
    for n, (row, index, pixels) in enumerate(expected):
        assert (made.row[n], made.index[n]) == (row, index)
        np.testing.assert_array_equal(made.slices[n], pixels.astype(np.float32))
    back = np.zeros(volumes[1].data.shape, dtype=np.float32)
    slicing = Slicing(shape=back.shape, plane=plane, size=24)
    whole = slice_cache(images, tmp_path / "cache", plane=plane, size=24)
    for n in np.flatnonzero(whole.row == 1):
        slicing.put(back, int(whole.index[n]), whole.slices[n])
    mask = volumes[1].mask
    np.testing.assert_array_equal(back[mask], volumes[1].data[mask].astype(np.float32))


def test_made_once_and_anew(images: Images, tmp_path: Path) -> None:
    """Catches slices that are made at every start, half ones after a crash, and old ones of images
    that have changed."""
    home = tmp_path / "cache"
    calls: list[int] = []

    def change(image: object) -> np.ndarray:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return image.data * 2  # type: ignore[attr-defined, no-any-return]

    asked = {"plane": "axial", "size": 20, "named": "twice"}
    with pytest.raises(KeyboardInterrupt):
        slice_cache(images, home, change=change, **asked)
    assert not list(home.glob("*/slices.json"))
    first = slice_cache(images, home, change=change, **asked)
    assert len(calls) == 5
    again = slice_cache(images, home, change=change, **asked)
    assert len(calls) == 5
    np.testing.assert_array_equal(first.slices, again.slices)
    os.utime(images.scan(0).found.file, ns=(1, 1))
    slice_cache(images, home, change=change, **asked)
    assert len(calls) == 8

"""Slices that are made once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from conformance.brains import opened, study_of, write_brains
from motet.errors import DataError
from motet.images.cache import brain_box, slice_cache
from motet.images.images import Image, Images
from motet.images.slices import PLANES, Slicing


@pytest.fixture
def images(tmp_path: Path) -> Images:
    folder = write_brains(tmp_path / "ash", batches={"b0": 2, "b1": 1})
    return opened(folder, study_of("z_score", {}))


def twice(image: Image, contrast: str) -> float:
    assert contrast == "T1w"
    return 2.0


def test_slices_are_those_of_the_images(images: Images, tmp_path: Path) -> None:
    """Catches a slice of another person, plane or place, empty ones, background, another scale."""
    asked = {"planes": ("axial", "sagittal"), "size": 24, "level": twice, "named": "2"}
    made = slice_cache(images, tmp_path / "cache", **asked)
    assert made.x.dtype == np.float32
    assert not made.x.flags.writeable
    assert isinstance(made.x, np.memmap)
    expected = []
    for row, image in enumerate(images.each()):
        box = brain_box(image)
        data, mask = np.where(image.mask, image.data / 2.0, 0.0)[box], image.mask[box]
        for plane in ("axial", "sagittal"):
            slicing = Slicing(shape=data.shape, plane=plane, size=24)
            expected += [
                (row, PLANES.index(plane), k, slicing.slice(data, k), slicing.slice(mask, k))
                for k in range(len(slicing))
                if slicing.slice(mask, k).any()
            ]
    assert len(made) == len(expected)
    for n, (row, plane, index, pixels, brain) in enumerate(expected):
        assert (made.row[n], made.plane[n], made.index[n]) == (row, plane, index)
        np.testing.assert_array_equal(made.x[n, 0], pixels.astype(np.float32))
        np.testing.assert_array_equal(made.brain[n], brain)
    np.testing.assert_array_equal(made.level, np.full((3, 1), 2.0))


def test_slices_with_little_brain_are_left_out(images: Images, tmp_path: Path) -> None:
    asked = {"planes": ("axial",), "size": 24, "level": twice, "named": "2"}
    whole = slice_cache(images, tmp_path / "cache", **asked)
    fewer = slice_cache(images, tmp_path / "cache", least=60, **asked)
    shown = whole.brain.sum(axis=(1, 2))
    assert 0 < len(fewer) < len(whole)
    np.testing.assert_array_equal(fewer.brain.sum(axis=(1, 2)), shown[shown >= 60])


@pytest.mark.parametrize(("size", "words"), [(8, "more than the 8 x 8"), (96, "too small")])
def test_a_brain_that_does_not_fit_is_refused(
    size: int, words: str, images: Images, tmp_path: Path
) -> None:
    """Catches brains that are cut at the border, and slabs that networks see as a line."""
    with pytest.raises(DataError, match=words) as raised:
        slice_cache(images, tmp_path, planes=("axial",), size=size, level=twice, named="2")
    assert "sub-" in str(raised.value)
    assert "params" in str(raised.value)


def test_made_once_and_anew(images: Images, tmp_path: Path) -> None:
    """Catches slices that are made at every start, half ones after a crash, and old ones of images
    that have changed."""
    home = tmp_path / "cache"
    calls: list[int] = []

    def level(image: Image, contrast: str) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 2.0

    asked = {"planes": ("axial",), "size": 24, "named": "twice", "level": level}
    with pytest.raises(KeyboardInterrupt):
        slice_cache(images, home, **asked)
    assert not list(home.glob("*/slices.json"))
    first = slice_cache(images, home, **asked)
    assert len(calls) == 5
    again = slice_cache(images, home, **asked)
    assert len(calls) == 5
    np.testing.assert_array_equal(first.x, again.x)
    os.utime(images.scan(0).found.file, ns=(1, 1))
    slice_cache(images, home, **asked)
    assert len(calls) == 8

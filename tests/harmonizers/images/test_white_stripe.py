"""White Stripe on a phantom whose white matter is known."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from motet.errors import DataError
from motet.harmonizers._images.each import rescaled
from motet.harmonizers._images.white_stripe import (
    peak,
    stripe,
    white_matter,
    white_matter_mode,
)
from motet.images.images import Image
from motet.images.volume import Grid, Volume
from motet.phantom.anatomy import Anatomy, coarser, person, template
from motet.phantom.scanner import scan, scanner, texture, truth


def image_of(data: np.ndarray, mask: np.ndarray) -> Image:
    grid = Grid(shape=data.shape, affine=np.eye(4))
    volume = Volume(data=data, grid=grid, header=nib.Nifti1Header(), file=None)  # type: ignore[arg-type]
    return Image(volume=volume, mask=mask)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    pytest.importorskip("nilearn")
    return template(1)


CASES = [
    pytest.param(
        contrast,
        resolution,
        site,
        age,
        # Fine images take the longest, and T1w's are the most often used.
        marks=[pytest.mark.long] if resolution == 1 and contrast != "T1w" else [],
    )
    for contrast in ("T1w", "T2w", "FLAIR")
    for resolution, site, age in ((1, "cedar", 40), (2, "birch", 40), (2, "ash", 65))
]


@pytest.mark.parametrize(("contrast", "resolution", "site", "age"), CASES)
def test_mode_is_that_of_white_matter(
    contrast: str, resolution: int, site: str, age: int, anatomy: Anatomy
) -> None:
    """Catches a mode that mixed voxels pull towards grey matter, and one that those who were left
    out push away from it: within 0.5 % of the distance from WM to CSF, as fine as the image may be
    and as close as the tissues may lie."""
    own = coarser(anatomy, resolution) if resolution > 1 else anatomy
    who = person(own, seed=1, name="sub-1", age=age) if resolution == 2 else own
    by = scanner(site, contrast, "monotone", seed=1, shape=who.inside.shape)
    true = truth(who, texture(who, seed=1, name="sub-1"), by, contrast=contrast)
    seen = scan(true, by, seed=1, name="sub-1", contrast=contrast)
    mode = white_matter_mode(image_of(seen, who.inside), contrast)
    # White matter alone in what the scanner sees, after its point spread.
    spread = ndimage.gaussian_filter(who.fractions[2], by.blur / resolution)
    white = float(true[spread > 0.99].mean())
    fluid = float(true[who.fractions[0] > 0.99].mean())
    assert abs(mode - white) < 0.005 * abs(white - fluid)


def test_neighbours_do_not_choose_who_counts() -> None:
    """Catches white matter that is left out for being nearer to grey matter than the rest: it
    varies here, and the mean of those chosen is that of all."""
    rng = np.random.default_rng(5)
    shape = (40, 40, 40)
    slow = ndimage.gaussian_filter(rng.standard_normal(shape), 3)
    data = 60.0 + 2.0 * slow / slow.std() + rng.normal(0, 1.0, shape)
    data[:, :, 20:30] += 9.0  # GM
    data[:, :, 30:] -= 45.0  # CSF
    chosen = white_matter(image_of(data, np.ones(shape, dtype=bool)), "FLAIR")
    assert len(chosen) > 20_000
    assert chosen.mean() == pytest.approx(data[:, :, :20].mean(), abs=0.1)


def test_little_white_matter() -> None:
    """Catches an estimate that needs more voxels than a small image, or a few grey levels, have."""
    data = np.repeat([30.0, 60.0, 100.0], 9).reshape(3, 3, 3)
    assert white_matter_mode(image_of(data, data > 0), "T1w") == 100.0
    steps = np.repeat([30.0, 60.0, 100.0], 4000).reshape(30, 20, 20)
    assert white_matter_mode(image_of(steps, steps > 0), "T1w") == 100.0
    assert white_matter_mode(image_of(steps, steps > 0), "FLAIR") == 60.0


def test_peak_of_a_normal_sample() -> None:
    """Catches a mode that jumps with bins, and one that cannot be taken of few or equal values."""
    sample = np.random.default_rng(2).normal(700.0, 12.0, 40_000)
    assert peak(sample) == pytest.approx(700.0, abs=0.3)
    assert peak(sample * 3 + 5) == pytest.approx(peak(sample) * 3 + 5, rel=1e-6)
    assert peak(np.full(50, 4.0)) == 4.0
    assert 1.0 <= peak(np.array([1.0, 2.0, 3.0])) <= 3.0


def test_stripe_is_two_sided_and_strict() -> None:
    """Catches a stripe of other quantiles, and the divisor n."""
    rng = np.random.default_rng(4)
    data = np.where(np.arange(8000) < 2000, 30.0, np.where(np.arange(8000) < 4500, 60.0, 100.0))
    data = (data + rng.normal(0, 3, 8000)).reshape(20, 20, 20)
    image = image_of(data, np.ones(data.shape, dtype=bool))
    mean, spread = stripe(image, "T1w", 0.05)
    brain = image.brain
    q = (brain < white_matter_mode(image, "T1w")).mean()
    inside = brain[(brain > np.quantile(brain, q - 0.05)) & (brain < np.quantile(brain, q + 0.05))]
    assert (mean, spread) == (inside.mean(), inside.std(ddof=1))
    assert mean == pytest.approx(100.0, abs=0.5)
    flat = image_of(np.where(image.mask, 5.0, 0.0), image.mask)
    with pytest.raises(DataError, match="one intensity"):
        stripe(flat, "T1w", 0.05)
    few = image_of(np.repeat([30.0, 60.0, 100.0, 110.0], 2000).reshape(20, 20, 20), image.mask)
    mean, spread = stripe(few, "T1w", 0.05)  # as published: what is brighter than the mean
    assert (mean, round(spread, 2)) == (105.0, 5.0)


def test_background_of_a_stripped_image_stays_nothing() -> None:
    """Catches zeros around a brain that become a large negative intensity."""
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[1:3, 1:3, 1:3] = True
    stripped = image_of(np.where(mask, 50.0, 0.0), mask)
    assert (rescaled(stripped, 40.0, 5.0)[~mask] == 0).all()
    assert (rescaled(stripped, 40.0, 5.0)[mask] == 2.0).all()
    big = np.zeros((12, 12, 12), dtype=bool)
    big[4:8, 4:8, 4:8] = True
    stray = np.where(big, 50.0, 0.0)
    stray[0, 0, 0] = 0.01
    assert np.abs(rescaled(image_of(stray, big), 40.0, 5.0)[~big]).max() == 0.01
    whole = image_of(np.where(mask, 50.0, 10.0), mask)
    assert (rescaled(whole, 40.0, 5.0)[~mask] == -6.0).all()

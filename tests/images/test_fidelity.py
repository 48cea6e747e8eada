"""Metrics of images beside their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from motet.images.fidelity import dice, fidelity

pytest.importorskip("torchmetrics")


def made(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    radius = sum(np.square(g) for g in grid)
    mask = np.asarray(radius < 0.8)
    tissue = np.where(radius < 0.2, 20.0, np.where(radius < 0.5, 100.0, 60.0))
    return np.where(mask, tissue + rng.normal(0, 2, shape), 7.0), mask


def test_itself_and_what_is_outside() -> None:
    """Catches background that counts, and a metric that is not perfect for the truth itself."""
    truth, mask = made((24, 26, 22))
    other = np.where(mask, truth, 500.0)
    found = fidelity(other, truth, mask, data_range=100.0, contrast="T1w")
    assert found.ssim == pytest.approx(1.0)
    assert found.ssim_in_plane == pytest.approx(1.0)
    assert found.mae == 0.0
    assert found.psnr > 200
    assert found.dice == {"csf": 1.0, "gm": 1.0, "wm": 1.0}
    assert set(found.wasserstein.values()) == {0.0}
    assert found.ms_ssim is None


def test_against_definitions() -> None:
    """Catches another data range, a mean over the background, and a kernel of other width."""
    truth, mask = made((24, 26, 22))
    shifted = truth + 5.0
    found = fidelity(shifted, truth, mask, data_range=100.0, contrast="T1w")
    assert found.mae == pytest.approx(0.05)
    assert found.psnr == pytest.approx(20 * np.log10(100 / 5))
    assert list(found.wasserstein.values()) == pytest.approx([0.05] * 3)
    a, b = (np.where(mask, v, 0.0) for v in (shifted, truth))

    def blurred(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, 1.5, truncate=5 / 1.5)

    c1, c2 = (0.01 * 100) ** 2, (0.03 * 100) ** 2
    ma, mb = blurred(a), blurred(b)
    va, vb, vab = blurred(a * a) - ma**2, blurred(b * b) - mb**2, blurred(a * b) - ma * mb
    full = (2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert found.ssim == pytest.approx(full[mask].mean(), abs=2e-3)


def test_thin_and_large() -> None:
    """Catches 3-D SSIM of a slab, and five scales of an image too small for them."""
    truth, mask = made((20, 22, 6))
    thin = fidelity(truth, truth, mask, data_range=100.0, contrast="T1w")
    assert thin.ssim is None
    assert thin.ssim_in_plane == pytest.approx(1.0)
    truth, mask = made((190, 190, 3))
    large = fidelity(truth + 1, truth, mask, data_range=100.0, contrast="T1w")
    assert large.ms_ssim == pytest.approx(1.0, abs=0.01)


def test_dice_by_hand() -> None:
    """Catches tissues that are matched by number where a contrast is the other way round."""
    one = np.repeat([10.0, 50.0, 90.0], 100)
    other = one.copy()
    other[:50] = 50.0
    found = dice(one, other, contrast="T2w")
    assert found["csf"] == 1.0
    assert found["wm"] == pytest.approx(2 * 50 / 150)
    assert found["gm"] == pytest.approx(2 * 100 / 250)

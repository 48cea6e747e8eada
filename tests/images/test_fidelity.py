"""Metrics of images beside their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from motet.images.fidelity import dice, fidelity


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
    assert found.ms_ssim == pytest.approx(1.0)


def test_against_definitions() -> None:
    """Catches another data range, and a mean over the background."""
    truth, mask = made((24, 26, 22))
    found = fidelity(truth + 5.0, truth, mask, data_range=100.0, contrast="T1w")
    assert found.mae == pytest.approx(0.05)
    assert found.psnr == pytest.approx(20 * np.log10(100 / 5))
    assert list(found.wasserstein.values()) == pytest.approx([0.05] * 3)


def test_ssim_is_that_of_torchmetrics() -> None:
    """Catches another kernel, other constants, another edge, and planes that are not axial."""
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.image")
    truth, _ = made((24, 26, 22))
    other = 0.9 * truth + np.random.default_rng(2).normal(0, 9, truth.shape) + 4
    everywhere = np.ones(truth.shape, dtype=bool)
    found = fidelity(other, truth, everywhere, data_range=100.0, contrast="T1w")
    for value, order in ((found.ssim, (0, 1, 2)), (found.ssim_in_plane, (2, 0, 1))):
        a, b = (torch.from_numpy(v.transpose(order).copy()) for v in (other, truth))
        a, b = (v[None, None] if order[0] == 0 else v[:, None] for v in (a, b))
        _, full = functional.structural_similarity_index_measure(
            a, b, data_range=100.0, return_full_image=True
        )
        assert value == pytest.approx(float(full.mean()), abs=1e-9)
        assert 0.2 < value < 0.98


def test_thin() -> None:
    """Catches 3-D SSIM of a slab."""
    truth, mask = made((20, 22, 6))
    thin = fidelity(truth, truth, mask, data_range=100.0, contrast="T1w")
    assert thin.ssim is None
    assert thin.ssim_in_plane == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(191, 203, 3), (60, 77, 4)])
def test_ms_ssim_is_that_of_torchmetrics(shape: tuple[int, ...]) -> None:
    """Catches other weights, scales that are halved otherwise, edges that count, a background that
    is left out, a small slice that is not put into the middle of zeros, and slices without brain,
    which are alike in all images."""
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.image")
    truth, mask = made(shape)
    other = 0.8 * truth + np.random.default_rng(2).normal(0, 15, shape) + 9
    found = fidelity(other, truth, mask, data_range=100.0, contrast="T1w")

    def slices(volume: np.ndarray) -> object:
        missing = [max(0, 176 - n) for n in shape[:2]]
        room = [(n // 2, n - n // 2) for n in missing]
        whole = np.pad(np.where(mask, volume, 0.0), [*room, (0, 0)])
        brain = mask.any(axis=(0, 1))
        return torch.from_numpy(whole[..., brain].transpose(2, 0, 1).copy())[:, None]

    expected = functional.multiscale_structural_similarity_index_measure(
        slices(other), slices(truth), data_range=100.0
    )
    assert found.ms_ssim == pytest.approx(float(expected), abs=1e-6)
    assert 0.5 < found.ms_ssim < 0.998


def test_dice_by_hand() -> None:
    """Catches tissues that are matched by number where a contrast is the other way round."""
    one = np.repeat([10.0, 50.0, 90.0], 100)
    other = one.copy()
    other[:50] = 50.0
    found = dice(one, other, contrast="T2w")
    assert found["csf"] == 1.0
    assert found["wm"] == pytest.approx(2 * 50 / 150)
    assert found["gm"] == pytest.approx(2 * 100 / 250)

"""Fine detail that is put back into an image of the decoder's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from conformance.brains import write_brains
from motet.bids.checks import Place
from motet.harmonizers._images.smooth import smoothed
from motet.harmonizers.calamiti import volumes
from motet.harmonizers.calamiti.detail import noise_of, with_detail
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import WHITE
from motet.harmonizers.calamiti.slices import level
from motet.harmonizers.calamiti.styles import Style
from motet.harmonizers.calamiti.volumes import Restyler
from motet.images.find import Found, Name
from motet.images.images import Scan, read_image

Float = NDArray[np.float64]
EDGES = (2.0, 2.0, 2.0)


def brain(shape: tuple[int, int, int] = (40, 44, 6)) -> NDArray[np.bool_]:
    x, y = (np.linspace(-1, 1, n) for n in shape[:2])
    inside: NDArray[np.bool_] = np.broadcast_to(
        ((x[:, None] ** 2 + y**2) < 0.8)[..., None], shape
    ).copy()
    return inside


def tissue(inside: NDArray[np.bool_], at: float = 0.2, deep: float = 0.15) -> Float:
    """Flat, but for a block in the middle: deep grey matter, say."""
    found = np.where(inside, at, 0.0)
    found[14:26, 16:28] = deep
    return found


def noise(shape: tuple[int, ...], sd: float) -> Float:
    return np.random.default_rng(5).normal(0.0, sd, shape)


def test_detail_comes_back_at_the_targets_intensities_where_images_are_flat() -> None:
    """Catches detail that is added in the scan's units, of another size, or of another sign."""
    inside = brain()
    own, made = np.where(inside, 0.2, 0.0), np.where(inside, 0.1, 0.0)
    # Folds of two voxels and more; what is finer than that is noise's, and has a test of its own.
    fine = smoothed(noise(own.shape, 0.1), inside, [1.0, 1.0, 1.0])
    found = with_detail(made, own, own * (1 + fine), inside, share=1.0, edges=EDGES)
    part = (found / np.where(inside, made, 1.0) - 1.0)[inside]
    assert np.corrcoef(part, fine[inside])[0, 1] > 0.995
    assert part.std() == pytest.approx(fine[inside].std(), rel=0.03)
    half = with_detail(made, own, own * (1 + fine), inside, share=0.5, edges=EDGES)
    assert (half - made)[inside] == pytest.approx(0.5 * (found - made)[inside])


def test_noise_stays_behind_and_the_edge_beside_it_does_not() -> None:
    """Catches noise that is put back like detail, and an edge that is taken for noise."""
    inside = brain()
    scan = np.where(inside, 0.25, 0.0)
    scan[10:30, 12:32] = 0.15
    own = np.where(inside, smoothed(scan, inside, [1.5, 1.5, 0.5]), 0.0)
    grain = np.where(inside, noise(own.shape, 0.005), 0.0)
    assert noise_of(grain, inside) == pytest.approx(0.005, rel=0.05)
    clean, noisy = (
        with_detail(own, own, x, inside, share=1.0, edges=EDGES) for x in (scan, scan + grain)
    )
    edge = inside & (np.abs(scan - own) > 0.02)
    deep = ndimage.binary_erosion(inside, np.ones((3, 3, 1)), iterations=3)
    flat = deep & (np.abs(scan - own) < 1e-3)
    assert edge.any()
    assert flat.any()
    assert (noisy - clean)[flat].std() < 0.5 * grain[flat].std()
    assert np.abs(noisy - scan)[edge].mean() < 0.3 * np.abs(own - scan)[edge].mean()


@pytest.mark.parametrize("slope", [1.0, 0.4, -0.6])
def test_an_edge_that_the_code_blurs_is_as_strong_as_the_target_shows_it(slope: float) -> None:
    """Catches edges of the scan's strength in a target that shows them weaker, or the other way
    round: bright lines beside them."""
    inside = brain()
    scan = np.where(inside, 0.25, 0.0)
    scan[10:30, 12:32] = 0.15
    own = np.where(inside, smoothed(scan, inside, [1.5, 1.5, 0.5]), 0.0)
    made, right = (np.where(inside, 0.2 + slope * (x - 0.2), 0.0) for x in (own, scan))
    found = with_detail(made, own, scan, inside, share=1.0, edges=EDGES)
    left = np.abs(found - right)[inside].mean() / np.abs(made - right)[inside].mean()
    assert left < 0.2


def test_how_tissues_lie_to_each_other_in_the_scan_does_not_come_along() -> None:
    """Catches detail that is taken from the scan's surroundings, and not from what the decoder made
    of it: a block that is darker in the scan would be darker in every target."""
    inside = brain()
    own, made = tissue(inside, 0.2, 0.15), tissue(inside, 0.2, 0.25)
    found = with_detail(made, own, own, inside, share=1.0, edges=EDGES)
    assert np.array_equal(found[~inside], np.zeros((~inside).sum()))
    assert found == pytest.approx(made, abs=1e-12)


@given(gain=st.floats(0.8, 1.25), slope=st.floats(-0.1, 0.1))
def test_what_is_smooth_in_the_scan_does_not_come_along(gain: float, slope: float) -> None:
    """Catches a scanner's gain and shading, which the own style may have missed, in the result."""
    inside = brain()
    own = tissue(inside)
    shading = gain * (1 + slope * np.linspace(-1, 1, own.shape[0]))[:, None, None]
    found = with_detail(own, own, own * shading, inside, share=1.0, edges=EDGES)
    off = (found / np.where(inside, own, 1.0) - 1.0)[inside]
    assert abs(off.mean()) < 0.005
    assert np.abs(off).max() < 0.5 * abs(slope) * gain + 1e-9


def test_a_code_that_is_wrong_makes_no_pixel_explode() -> None:
    """Catches a division by what the decoder left dark."""
    inside = brain()
    own = tissue(inside)
    own[20, 22, 3] = 1e-9
    found = with_detail(own, own, tissue(inside), inside, share=1.0, edges=EDGES)
    assert np.isfinite(found).all()
    assert found.max() < 0.65


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_scan_in_twice_its_own_style_is_twice_itself_where_detail_is_put_back(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches detail beside the image of another style than the scan's own, or in other units, and
    detail where the study asks for none. The networks here blur, and theta is a gain."""
    home = write_brains(tmp_path / "ash", batches={"b0": 2}, seed=0)
    file = sorted(Path(home).rglob("*_T1w.nii.gz"))[0]
    who = file.name.split("_")[0]
    found = Found(person=who, session="", file=file, name=Name.of(file))
    mask = file.with_name(f"{who}_desc-brain_mask.nii.gz")
    image = read_image(Scan(found=found, mask=mask), site="ash", person=who)

    def blurred(networks: Any, params: Any, seen: Any, inside: Any, thetas: Any) -> Float:
        (one,) = seen
        blur = np.where(inside, ndimage.gaussian_filter(one, 1.0), 0.0)
        return np.stack([theta[0] * blur for theta in thetas])[:, None]

    monkeypatch.setattr(volumes, "of_planes", blurred)
    monkeypatch.setattr(volumes, "codes", lambda networks, x, threads: np.array([[1.0]]))
    params = CalamitiParams.model_validate(
        {"train": {"preset": "tiny"}, "second": "", "detail": share, "planes": ["axial"]}
    )
    white = level(image, "T1w") * WHITE
    target = Style(theta=np.array([[2.0]]), white=np.array([white]))
    restyler = Restyler(networks=None, params=params, target=target)  # type: ignore[arg-type]
    (made,) = restyler.restyled([image], place=Place(file=file), person=who)
    assert np.array_equal(made[~image.mask], image.data[~image.mask])
    apart = made[image.mask] / (2.0 * image.brain) - 1.0
    sd = float(np.std(apart))
    assert sd < 0.06 if share else sd > 0.3

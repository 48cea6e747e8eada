"""Opening images: what a hospital types wrong is a sentence that names the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conformance.brains import AFFINE, SHAPE, write_brains
from motet.client.opening import open_site
from motet.errors import DataError, StudyFileError
from motet.images.images import Images, measured
from motet.images.measures import EACH, contrasts_of, names
from motet.images.params import ImageParams, PairedParams, RegisteredParams
from motet.images.voxels import Matrix, voxels_of

PLAIN, REGISTERED = ImageParams(), RegisteredParams(registered=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_brains(tmp_path_factory.mktemp("ash"), batches={"b0": 3, "b1": 2})


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "ash"))


def opened(folder: Path, params: ImageParams = PLAIN) -> Images:
    images = open_site(folder, site="ash", params=params)
    assert isinstance(images, Images)
    return images


def file_of(folder: Path, person: str = "sub-b001", what: str = "T1w") -> Path:
    return folder / person / "anat" / f"{person}_{what}.nii.gz"


def save(file: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(data, affine), file)


def test_a_row_an_image(folder: Path) -> None:
    """Catches an image that is another row's, and measures of what is outside of the brain."""
    images = opened(folder)
    assert images.people.tolist() == ["sub-b000", "sub-b001", "sub-b002", "sub-b100", "sub-b101"]
    assert images.features == names("T1w")
    assert images.described.grid == ()
    part = images.where(images.batch == "b1")
    image = part.image(1)
    assert image.volume.file == file_of(folder, "sub-b101")
    assert image.data.shape == SHAPE
    row = dict(zip(images.features, part.block(slice(None))[1], strict=True))
    assert row["T1w_q50"] == pytest.approx(np.median(image.brain), rel=1e-5)
    assert row["T1w_csf_median"] < row["T1w_gm_median"] < row["T1w_wm_median"]
    volume = row["T1w_csf_volume"] + row["T1w_gm_volume"] + row["T1w_wm_volume"]
    assert volume == pytest.approx(image.mask.sum() * 8**3 / 1000, rel=1e-5)
    assert np.array_equal(
        images.measured(slice(1, 2), images.image(1).data[None])[0], images.values[1]
    )


def cut_off(folder: Path) -> None:
    file = file_of(folder)
    file.write_bytes(file.read_bytes()[:500])


def series(folder: Path) -> None:
    save(file_of(folder), np.ones((*SHAPE, 3), dtype=np.float32))


def empty_mask(folder: Path) -> None:
    save(file_of(folder, what="desc-brain_mask"), np.zeros(SHAPE, dtype=np.uint8))


def other_mask(folder: Path) -> None:
    save(file_of(folder, what="desc-brain_mask"), np.ones((4, 4, 4), dtype=np.uint8))


def not_finite(folder: Path) -> None:
    data = nib.load(file_of(folder)).get_fdata()
    data[3, 3, 3] = np.nan
    save(file_of(folder), data)


def inverted(folder: Path) -> None:
    data = nib.load(file_of(folder)).get_fdata()
    save(file_of(folder), data.max() - data)


def absent(folder: Path) -> None:
    file_of(folder).unlink()


def twice(folder: Path) -> None:
    shutil.copy(file_of(folder), file_of(folder).with_name("sub-b001_run-2_T1w.nii.gz"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_off, "cut off or damaged"),
        (series, "4 dimensions"),
        (empty_mask, "mask is empty"),
        (other_mask, "another grid"),
        (not_finite, "NaN or infinite"),
        (inverted, "does not look like a T1w image"),
        (absent, "has no T1w image"),
        (twice, "several T1w images"),
    ],
)
def test_spoilt(spoil: Callable[[Path], None], words: str, folder: Path) -> None:
    """Catches an image that runs into numpy's words, or through."""
    spoil(folder)
    with pytest.raises(DataError, match=words) as caught:
        opened(folder)
    assert "sub-b001" in str(caught.value)
    assert "ash" in str(caught.value)


def test_registered(folder: Path) -> None:
    """Catches raw images whose voxels are compared, and grids that differ between people."""
    with pytest.raises(StudyFileError, match=r"registered to one template.*space of their own"):
        opened(folder, RegisteredParams())
    images = opened(folder, REGISTERED)
    assert images.described.grid[:3] == SHAPE
    assert images.described.grid[3] == 8.0  # canonical: to the right
    save(
        file_of(folder), nib.load(file_of(folder)).get_fdata(), AFFINE + np.eye(4)[:, [3, 0, 1, 2]]
    )
    file_of(folder, what="desc-brain_mask").unlink()
    with pytest.raises(DataError, match="another grid") as caught:
        opened(folder, REGISTERED)
    assert "sub-b001" in str(caught.value)


def test_without_masks(folder: Path) -> None:
    """Catches a threshold that nobody hears of."""
    file_of(folder, what="desc-brain_mask").unlink()
    said: list[str] = []
    open_site(folder, site="ash", params=PLAIN, say=said.append)
    (sentence,) = said
    assert sentence.startswith("sub-b001 has no brain mask")


def test_voxels_are_read_once_and_as_they_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a voxel of another person or place, in memory or not, and a second reading."""
    images = opened(folder, REGISTERED)
    voxels = np.array([5, 900, 2222, 4000])
    expected = np.stack([image.data.ravel()[voxels] for image in images.each()])
    table = voxels_of(images, voxels)
    np.testing.assert_array_equal(table.rows_block(slice(1, 3)), expected[1:3])
    assert table.matrix._values is None  # single people are read from their files
    np.testing.assert_array_equal(table.block(slice(None)), expected)
    part = voxels_of(images.where(images.batch == "b1"), voxels)
    assert part.matrix is table.matrix
    np.testing.assert_array_equal(part.block([1, 3]), expected[3:][:, [1, 3]])
    assert table.features[1] == "voxel (3, 0, 0)"
    monkeypatch.setattr("motet.room.IN_MEMORY", 0)
    mapped = Matrix(images.scans, voxels, site="ash").values
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, expected)


def test_prepared(folder: Path) -> None:
    """Catches a bias field that stays, and a grid that moves when it is resampled."""
    pytest.importorskip("SimpleITK")
    file = file_of(folder)
    image = nib.load(file)
    x = np.linspace(-1, 1, SHAPE[0])[:, None, None]
    field = np.exp(0.5 * x)
    save(file, image.get_fdata() * field)
    plain, mended = opened(folder), opened(folder, ImageParams(n4=True))

    def unevenness(images: Images) -> float:
        one = images.image(1)
        white = one.mask & (one.data > 0.8 * np.quantile(one.brain, 0.9))
        halves = [one.data[half][white[half]].mean() for half in (np.s_[:8], np.s_[9:])]
        return abs(np.log(halves[0] / halves[1]))

    assert unevenness(mended) < 0.5 * unevenness(plain)
    assert mended.preparation["N4"]
    coarse = opened(folder, ImageParams(spacing=10.0))
    grid = coarse.image(0).volume.grid
    assert grid.spacing == (10.0, 10.0, 10.0)
    for images in (plain, coarse):
        one = images.image(0)
        centre = np.argwhere(one.mask).mean(axis=0)
        affine = one.volume.grid.canonical.affine
        place = affine[:3, :3] @ centre + affine[:3, 3]
        if images is plain:
            before = place
    np.testing.assert_allclose(place, before, atol=1.5)


def test_a_slab_of_four_slices_keeps_them_for_n4(folder: Path) -> None:
    """Catches a slab that is shrunk to one slice, which ITK refuses in words of its own."""
    pytest.importorskip("SimpleITK")
    for what in ("T1w", "desc-brain_mask"):
        image = nib.load(file_of(folder, what=what))
        save(file_of(folder, what=what), np.asarray(image.dataobj)[:, :, 6:10])
    images = opened(folder, ImageParams(n4=True))
    assert images.image(1).data.shape == (*SHAPE[:2], 4)
    assert np.isfinite(images.image(1).brain).all()


def test_a_pair_has_the_measures_of_both(tmp_path: Path) -> None:
    """Catches T2w of which nothing is measured, measures of T1w under its names, and bounds of sums
    that a brighter T2w exceeds."""
    folder = write_brains(tmp_path, batches={"b0": 3}, contrasts=("T1w", "T2w"))
    file = file_of(folder, "sub-b001", "T2w")
    save(file, 1000 * nib.load(file).get_fdata())
    images, alone = opened(folder, PairedParams()), opened(folder, ImageParams(contrast="T2w"))
    assert images.features == names("T1w", "T2w")
    assert len(images.features) == 44
    assert contrasts_of(images.features) == ("T1w", "T2w")
    assert contrasts_of((*images.features[:-1], "other")) == ()
    assert np.array_equal(images.values[:, EACH:], alone.values)
    assert np.array_equal(images.values[:, :EACH], opened(folder).values)
    assert images.units[EACH:] == alone.units
    scale = images.described.scale
    assert scale.voxels == alone.described.scale.voxels
    assert 4.0**scale.voxels >= np.abs(nib.load(file).get_fdata()).max()
    first, second = images.each_contrast()
    assert (first.contrasts, second.contrasts) == (("T1w",), ("T2w",))
    assert np.array_equal(second.where(np.arange(3) == 1).image(0).data, alone.image(1).data)
    assert np.array_equal(images.where(np.arange(3) == 1).each_contrast()[1].values, alone.values)
    (same,) = alone.each_contrast()
    assert same is alone


def test_a_pair_without_a_mask_has_that_of_its_first(tmp_path: Path) -> None:
    """Catches the brain of T2w where it is brighter than its mean: its CSF, or noise around."""
    folder = write_brains(tmp_path, batches={"b0": 2}, contrasts=("T1w", "T2w"))
    for mask in folder.rglob("*_mask.nii.gz"):
        mask.unlink()
    file = file_of(folder, "sub-b000", "T2w")
    half = nib.load(file).get_fdata()
    half[:8] *= 0.1
    save(file, half)
    images = opened(folder, PairedParams())
    assert images.scan(0).mask is None
    pair, second = images.pair(0), images.each_contrast()[1].image(0)
    assert np.array_equal(second.mask, images.image(0).mask)
    alone = opened(folder, ImageParams(contrast="T2w", unusual_contrast=True)).image(0)
    assert not np.array_equal(second.mask, alone.mask)
    assert np.array_equal(images.values[0], measured(pair, ("T1w", "T2w")))
    assert np.array_equal(second.brain, pair[1].brain)

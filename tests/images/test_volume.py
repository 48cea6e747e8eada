"""NIfTI in and out: nothing moves, nothing is rounded, and bad files are sentences."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from motet.bids.checks import Place
from motet.errors import DataError
from motet.images.volume import read_grid, read_labels, read_volume, write_volume

ORIENTATIONS = ["".join(o) for o in itertools.product("LR", "PA", "IS")]
ALL = sorted({"".join(p) for o in ORIENTATIONS for p in itertools.permutations(o)})
SHAPE = (7, 10, 5)
HERE = Place(site="ash")


def affine_of(codes: str, shape: tuple[int, ...], *, tilt: float = 0.0) -> np.ndarray:
    """An affine of these axis codes, with unequal voxels, an offset and a tilt (radians)."""
    ornt = nib.orientations.axcodes2ornt(tuple(codes))
    canonical = np.diag([1.5, 2.0, 3.0, 1.0])
    c, s = np.cos(tilt), np.sin(tilt)
    canonical[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ canonical[:3, :3]
    canonical[:3, 3] = (-40.0, 12.5, 7.25)
    back = nib.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), ornt)
    turned = [shape[int(np.flatnonzero(ornt[:, 0] == k)[0])] for k in range(3)]
    return canonical @ nib.orientations.inv_ornt_aff(back, turned)


def image_of(
    file: Path, data: np.ndarray, affine: np.ndarray | None = None, dtype: type = np.int16
) -> Path:
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header["descrip"] = b"of a scanner"
    image = nib.Nifti1Image(data, np.eye(4) if affine is None else affine, header)
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 4)
    nib.save(image, file)
    return file


@pytest.fixture
def numbers() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 2000, SHAPE).astype(np.int16)


@pytest.mark.parametrize("codes", ALL)
def test_every_orientation_comes_back(codes: str, numbers: np.ndarray, tmp_path: Path) -> None:
    """Catches a flip that is lost on the way to canonical axes or back."""
    affine = affine_of(codes, SHAPE, tilt=0.2)
    assert "".join(nib.aff2axcodes(affine)) == codes
    file = image_of(tmp_path / "a.nii.gz", numbers, affine)
    volume = read_volume(file, place=HERE)
    canonical = volume.grid.canonical
    assert nib.aff2axcodes(canonical.affine) == ("R", "A", "S")
    assert canonical.shape == volume.data.shape
    as_nibabel = nib.as_closest_canonical(nib.load(file))
    np.testing.assert_array_equal(volume.data, as_nibabel.get_fdata())
    np.testing.assert_allclose(canonical.affine, as_nibabel.affine, atol=1e-5)
    write_volume(tmp_path / "b.nii.gz", volume.data, like=volume)
    before, after = nib.load(file), nib.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(np.asarray(after.dataobj), numbers)
    np.testing.assert_array_equal(after.affine, before.affine)


def test_48_orientations() -> None:
    """Catches a list of orientations that became shorter."""
    assert len(ALL) == 48


def test_header_is_kept(numbers: np.ndarray, tmp_path: Path) -> None:
    """Catches codes and units that are lost, an integer cast, and windows of other intensities."""
    file = image_of(tmp_path / "a.nii.gz", numbers, affine_of("LPS", SHAPE))
    image = nib.load(file)
    image.header["cal_max"] = 900.0
    image.header.set_xyzt_units("mm", "sec")
    image.header["scl_slope"], image.header["scl_inter"] = 0.5, 10.0
    nib.save(image, file)
    volume = read_volume(file, place=HERE)
    halves = volume.data * np.float32(0.1) + np.float32(1 / 3)
    write_volume(tmp_path / "b.nii.gz", halves, like=volume)
    after = nib.load(tmp_path / "b.nii.gz")
    assert after.get_data_dtype() == np.float32
    np.testing.assert_array_equal(
        np.asarray(after.dataobj), volume.grid.to_native(halves).astype(np.float32)
    )
    for key in ("descrip", "qform_code", "sform_code", "xyzt_units", "pixdim"):
        np.testing.assert_array_equal(after.header[key], nib.load(file).header[key])
    assert after.header["cal_max"] == 0.0
    assert after.header.get_slope_inter() in ((1.0, 0.0), (None, None))


def test_same_image_is_the_same_bytes(numbers: np.ndarray, tmp_path: Path) -> None:
    """Catches a time in the compressed file: derivatives of two runs could not be compared."""
    volume = read_volume(image_of(tmp_path / "a.nii.gz", numbers), place=HERE)
    for name in ("b", "c"):
        write_volume(tmp_path / f"{name}.nii.gz", volume.data, like=volume)
    assert (tmp_path / "b.nii.gz").read_bytes() == (tmp_path / "c.nii.gz").read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("dtype", "held"),
    [
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (np.int32, np.float64),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)
def test_no_value_is_rounded(dtype: type, held: type, tmp_path: Path) -> None:
    """Catches large integers that float32 cannot hold."""
    largest = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1 / 3
    data = np.zeros(SHAPE, dtype=dtype)
    data[1, 2, 3] = largest
    volume = read_volume(image_of(tmp_path / "a.nii", data, dtype=dtype), place=HERE)
    assert volume.data.dtype == held
    assert volume.data.max() == data.max()


def test_a_fourth_axis_of_one(numbers: np.ndarray, tmp_path: Path) -> None:
    """Catches a volume that a converter wrote as a series of one."""
    volume = read_volume(image_of(tmp_path / "a.nii", numbers[..., None]), place=HERE)
    assert volume.data.shape == SHAPE
    write_volume(tmp_path / "b.nii", volume.data, like=volume)
    assert nib.load(tmp_path / "b.nii").shape == SHAPE


def refused(file: Path, words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        read_volume(file, place=Place(site="ash", file=file))
    assert file.name in str(error.value)
    assert "site ash" in str(error.value)


@pytest.mark.parametrize("kept", [0, 100, 352, 1000])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_file_that_is_cut_off(kept: int, name: str, numbers: np.ndarray, tmp_path: Path) -> None:
    """Catches a traceback, or an image of which the end is zero, after a copy that failed."""
    file = image_of(tmp_path / name, numbers)
    content = file.read_bytes()
    file.write_bytes(content[: min(kept, len(content) - 20)])
    refused(file, "cut off or damaged")


def test_other_bad_images(numbers: np.ndarray, tmp_path: Path) -> None:
    """Catches a series, NaN, an empty image, and what is no image at all, taken for one."""
    refused(image_of(tmp_path / "series.nii", np.stack([numbers] * 3, axis=3)), "4 dimensions")
    refused(image_of(tmp_path / "flat.nii", np.full(SHAPE, 3)), "one intensity")
    holes = numbers.astype(np.float32)
    holes[0, 0, :2] = np.nan
    refused(image_of(tmp_path / "nan.nii", holes, dtype=np.float32), "2 voxels are NaN")
    (tmp_path / "text.nii").write_text("no image" * 100)
    refused(tmp_path / "text.nii", "cut off or damaged")
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"no image" * 100))
    refused(tmp_path / "text.nii.gz", "cut off or damaged")
    refused(tmp_path / "none.nii", "missing")
    minc = tmp_path / "a.mgz"
    nib.save(nib.MGHImage(numbers, np.eye(4)), minc)
    refused(minc, "not a NIfTI")
    nowhere = nib.Nifti1Image(numbers, np.eye(4))
    nowhere.header.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), 1)
    nowhere.header.set_qform(None, 0)
    (tmp_path / "affine.nii").write_bytes(nib.Nifti1Image(numbers, None, nowhere.header).to_bytes())
    refused(tmp_path / "affine.nii", "affine is singular")


def test_labels_are_of_the_image(numbers: np.ndarray, tmp_path: Path) -> None:
    """Catches a mask of another grid, and a probability map taken for labels."""
    like = read_grid(image_of(tmp_path / "a.nii", numbers, affine_of("LPS", SHAPE)), place=HERE)
    mask = (numbers > 900).astype(np.uint8)
    file = image_of(tmp_path / "m.nii", mask, affine_of("LPS", SHAPE), np.uint8)
    np.testing.assert_array_equal(read_labels(file, like=like, place=HERE), like.to_canonical(mask))
    moved = affine_of("LPS", SHAPE)
    moved[0, 3] += 1.0
    with pytest.raises(DataError, match=r"another grid \(7 x 10 x 5 voxels of 1.5 x 2 x 3 mm, "):
        read_labels(image_of(tmp_path / "n.nii", mask, moved), like=like, place=HERE)
    soft = image_of(tmp_path / "p.nii", mask * 0.5, affine_of("LPS", SHAPE), np.float32)
    with pytest.raises(DataError, match="whole numbers"):
        read_labels(soft, like=like, place=HERE)

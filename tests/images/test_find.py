"""Finding images and masks by their BIDS names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from images.test_volume import HERE, SHAPE, image_of
from motet.bids.checks import Place
from motet.errors import DataError
from motet.images.find import Found, Name, Pick, find_images, find_mask
from motet.images.mask import foreground, mask_of
from motet.images.volume import read_volume

T1W = Pick(suffix="T1w", entities={})


def made(folder: Path, *names: str) -> Path:
    """Empty files of these names, as ``sub-1/ses-a/anat/sub-1_ses-a_T1w``."""
    for name in names:
        file = folder / f"{name}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def found(folder: Path, *people: str, pick: Pick = T1W) -> list[tuple[str, str, str]]:
    images = find_images(folder, people, pick, site="ash")
    return [(i.person, i.session, i.file.name.removesuffix(".nii.gz")) for i in images]


@pytest.mark.parametrize(
    ("name", "entities", "suffix"),
    [
        ("sub-01_T1w.nii.gz", {"sub": "01"}, "T1w"),
        ("sub-01_ses-b_acq-fast_T2w.nii", {"sub": "01", "ses": "b", "acq": "fast"}, "T2w"),
        ("sub-01_T1w.json", None, ""),
        ("T1w.nii.gz", None, ""),
        ("sub-01_b_T1w.nii.gz", None, ""),
    ],
)
def test_names(name: str, entities: dict[str, str] | None, suffix: str) -> None:
    """Catches a file that is no BIDS image taken for one."""
    read = Name.of(Path(name))
    assert (None if read is None else dict(read.entities)) == entities
    assert read is None or read.suffix == suffix


def test_name_of_a_derivative() -> None:
    """Catches two descriptions in one name, and a description before the session."""
    name = Name(entities={"sub": "1", "ses": "a", "desc": "preproc"}, suffix="T1w")
    assert name.described("nyul") == "sub-1_ses-a_desc-nyul_T1w"
    assert name.described("nyul", "mask") == "sub-1_ses-a_desc-nyul_mask"


def test_people_and_sessions_in_order(tmp_path: Path) -> None:
    """Catches another person's file, another suffix, and rows in the order of the disk."""
    folder = made(
        tmp_path,
        "sub-2/ses-b/anat/sub-2_ses-b_T1w",
        "sub-2/ses-a/anat/sub-2_ses-a_T1w",
        "sub-2/ses-a/anat/sub-2_ses-a_T2w",
        "sub-1/anat/sub-1_T1w",
        "sub-1/anat/sub-11_T1w",
        "sub-1/func/sub-1_T1w",
        "sub-11/anat/sub-11_T1w",
    )
    assert found(folder, "sub-2", "1") == [
        ("sub-2", "a", "sub-2_ses-a_T1w"),
        ("sub-2", "b", "sub-2_ses-b_T1w"),
        ("1", "", "sub-1_T1w"),
    ]
    with pytest.raises(DataError, match=r"sub-1 has no T2w image\.") as error:
        found(folder, "sub-2", "sub-1", pick=Pick(suffix="T2w", entities={}))
    assert "site ash" in str(error.value)


def test_several_images_of_a_person(tmp_path: Path) -> None:
    """Catches the first of two runs taken without a word."""
    folder = made(
        tmp_path,
        "sub-1/anat/sub-1_run-1_T1w",
        "sub-1/anat/sub-1_run-2_T1w",
        "sub-1/anat/sub-1_desc-preproc_T1w",
    )
    with pytest.raises(DataError, match=r"several T1w images: .*Say in the study file"):
        found(folder, "sub-1")
    assert found(folder, "sub-1", pick=Pick(suffix="T1w", entities={"run": "2"})) == [
        ("sub-1", "", "sub-1_run-2_T1w")
    ]
    without = Pick(suffix="T1w", entities={"desc": "", "run": "1"})
    assert found(folder, "sub-1", pick=without)[0][2] == "sub-1_run-1_T1w"


def test_mask_of_this_image(tmp_path: Path) -> None:
    """Catches a mask of another space, run or person, and one in a derivative that is not seen."""
    folder = made(
        tmp_path,
        "sub-1/anat/sub-1_run-1_T1w",
        "derivatives/fmriprep/sub-1/anat/sub-1_space-MNI_desc-brain_mask",
        "derivatives/fmriprep/sub-1/anat/sub-1_desc-lesion_mask",
        "derivatives/fmriprep/sub-1/anat/sub-1_run-2_desc-brain_mask",
    )
    (image,) = find_images(folder, ["sub-1"], T1W, site="ash")
    assert find_mask(folder, image) is None
    made(folder, "derivatives/fmriprep/sub-1/anat/sub-1_desc-brain_mask")
    assert str(find_mask(folder, image)).endswith(
        "fmriprep/sub-1/anat/sub-1_desc-brain_mask.nii.gz"
    )
    made(folder, "sub-1/anat/sub-1_run-1_mask")
    assert str(find_mask(folder, image)).endswith("sub-1_run-1_mask.nii.gz")
    warped = Found(
        person="sub-1",
        session="",
        file=image.file,
        name=Name(entities={"sub": "1", "space": "MNI"}, suffix="T1w"),
    )
    assert "space-MNI" in str(find_mask(folder, warped))


def test_foreground_is_the_head(tmp_path: Path) -> None:
    """Catches a mask with holes where CSF is dark, and with specks of noise outside."""
    data = np.zeros((9, 9, 9), dtype=np.float32)
    data[2:7, 2:7, 2:7] = 100.0
    data[4, 4, 4] = 0.0
    data[0, 0, 0] = 90.0
    inside = foreground(data)
    assert inside[4, 4, 4]
    assert not inside[0, 0, 0]
    assert inside.sum() == 125


def test_empty_mask_names_its_file(tmp_path: Path) -> None:
    """Catches a division by zero voxels later on."""
    numbers = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    volume = read_volume(image_of(tmp_path / "a.nii", numbers), place=HERE)
    empty = image_of(tmp_path / "empty.nii", np.zeros(SHAPE), dtype=np.uint8)
    with pytest.raises(DataError, match="mask is empty") as error:
        mask_of(volume, empty, place=Place(site="ash", file=volume.file))
    assert "empty.nii" in str(error.value)
    labels = image_of(tmp_path / "labels.nii", numbers % 4, dtype=np.uint8)
    mask = mask_of(volume, labels, place=HERE)
    assert (mask.inside == (numbers % 4 > 0)).all()
    assert mask.source == labels

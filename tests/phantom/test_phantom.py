"""A consortium with known truth: the same people under every scanner, and nothing by chance."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from e2e.consortium import files, motet, refused, succeeded
from motet.images.find import Pick, find_images, find_mask
from motet.phantom.anatomy import Anatomy, cropped, of_labels, of_slabs, person, template
from motet.phantom.scanner import scanner, texture, truth

SHAPE = (24, 28, 20)


def made_up() -> np.ndarray:
    """Tissues as shells: WM with deep GM in it, GM around, CSF outside."""
    place = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2
    apart = np.sqrt(np.square(place / (np.array(SHAPE) / 2)[:, None, None, None]).sum(axis=0))
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for tissue, radius in ((1, 0.9), (2, 0.75), (3, 0.55), (4, 0.2)):
        labels[apart < radius] = tissue
    return labels


def label_map(file: Path, labels: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(made_up() if labels is None else labels, np.diag([2, 2, 2, 1])), file)
    return file


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    label_map(folder / "labels.nii.gz")
    words = ("--sites", 3, "--people", 2, "--travelers", 1, "--contrasts", "T1w,T2w")
    said = succeeded(
        "phantom", "--out", folder / "out", *words, "--anatomy", folder / "labels.nii.gz"
    )
    assert "3 hospitals of 2 people, 1 travelers" in said
    return folder / "out"


def image(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj, dtype=np.float64)


def test_sites_are_bids_folders(written: Path) -> None:
    """Catches a scan or mask that no site would find, and a person without a row."""
    for site in ("ash", "birch", "cedar"):
        people = pd.read_csv(written / site / "participants.tsv", sep="\t")["participant_id"]
        assert people.tolist() == [f"sub-{site}01", f"sub-{site}02", "sub-traveler01"]
        for suffix in ("T1w", "T2w"):
            pick = Pick(suffix=suffix, entities={})
            found = find_images(written / site, people.tolist(), pick, site=site)
            assert all(find_mask(written / site, one) is not None for one in found)
            assert all(nib.load(one.file).get_data_dtype() == np.int16 for one in found)
    travelers = pd.read_csv(written / "travelers.tsv", sep="\t")
    assert travelers["site"].tolist() == ["ash", "birch", "cedar"]


def test_scan_is_the_truth_with_noise(written: Path) -> None:
    """Catches a truth of another person, scanner or unit."""
    for site in ("ash", "birch"):
        for who in (f"sub-{site}01", "sub-traveler01"):
            name = f"{who}/anat/{who}_T1w.nii.gz"
            true, seen = image(written / "truth" / site / name), image(written / site / name)
            inside = image(written / f"labels/{who}_dseg.nii.gz") == 3
            error = (seen - true)[inside]
            assert np.abs(error.mean()) < 0.01 * true[inside].mean()
            assert 0.01 < error.std() / true[inside].mean() < 0.03
    for site in ("ash", "birch", "cedar"):
        assert len(list((written / "truth" / site).glob("sub-*"))) == 7  # everybody everywhere


def test_a_traveler_is_one_person(written: Path) -> None:
    """Catches another brain, or the same noise, at another site."""
    name = "sub-traveler01/anat/sub-traveler01_T1w.nii.gz"
    noise = [
        image(written / site / name) - image(written / "truth" / site / name)
        for site in ("ash", "birch")
    ]
    white = image(written / "labels/sub-traveler01_dseg.nii.gz") == 3
    assert abs(np.corrcoef(noise[0][white], noise[1][white])[0, 1]) < 0.1
    ages = {
        pd.read_csv(written / s / "participants.tsv", sep="\t")
        .set_index("participant_id")
        .age["sub-traveler01"]
        for s in ("ash", "birch", "cedar")
    }
    assert len(ages) == 1


def test_another_hospital_changes_nobody(written: Path, tmp_path: Path) -> None:
    """Catches people or scanners that depend on how many there are; and a clock in the files."""
    anatomy = label_map(tmp_path / "labels.nii.gz")
    words = ("--people", 1, "--travelers", 0, "--contrasts", "T1w", "--anatomy", anatomy)
    for sites in (2, 3):
        succeeded("phantom", "--out", tmp_path / str(sites), "--sites", sites, *words)
    few, many = files(tmp_path / "2"), files(tmp_path / "3")
    same = [name for name in few if name.split("/")[0] in ("ash", "birch", "labels")]
    assert len(same) > 10
    assert all(few[name] == many[name] for name in same)
    name = "ash/sub-ash01/anat/sub-ash01_T1w.nii.gz"
    assert few[name] == (written / name).read_bytes()


def one(effect: str) -> tuple[Anatomy, list[np.ndarray]]:
    """A person under five scanners without blur of a variant."""
    labels = made_up()
    shares = np.stack([labels == t for t in (1, 2, 3, 4)]).astype(np.float32)
    anatomy = Anatomy(fractions=shares, affine=np.diag([2.0, 2, 2, 1]))
    own = texture(anatomy, seed=1, name="sub-1")
    shown = []
    for site in "abcde":
        by = scanner(site, "T1w", effect, seed=1, shape=SHAPE)  # type: ignore[arg-type]
        sharp = type(by)(**{**vars(by), "blur": 0.0})
        shown.append(truth(anatomy, own, sharp, contrast="T1w"))
    return anatomy, shown


def test_monotone_is_monotone_and_tissue_is_not() -> None:
    """Catches variants that a histogram can, or cannot, undo, against what their names say."""
    anatomy, shown = one("monotone")
    order = np.argsort(shown[0][anatomy.inside], kind="stable")
    for other in shown[1:]:
        assert (np.diff(other[anatomy.inside][order]) > -1e-3).all()
    anatomy, shown = one("tissue")
    labels = anatomy.labels
    means = np.array([[s[labels == t].mean() for t in (1, 2, 3, 4)] for s in shown])
    assert len({tuple(row.argsort()) for row in means}) > 1
    bias = scanner("a", "T1w", "tissue", seed=1, shape=SHAPE).bias
    assert 0.05 < bias.std() < 0.3
    assert (scanner("a", "T1w", "monotone", seed=1, shape=SHAPE).bias == 1.0).all()


def test_people_differ_and_get_older() -> None:
    """Catches a warp of a voxel, or of half a brain; and an age that shows nowhere."""
    labels = made_up()
    shares = np.stack([labels == t for t in (1, 2, 3, 4)]).astype(np.float32)
    anatomy = Anatomy(fractions=shares, affine=np.diag([2.0, 2, 2, 1]))
    young = person(anatomy, seed=1, name="sub-1", age=20.0, bend=2.0, smooth=8.0)
    old = person(anatomy, seed=1, name="sub-1", age=80.0, bend=2.0, smooth=8.0)
    other = person(anatomy, seed=1, name="sub-2", age=20.0, bend=2.0, smooth=8.0)
    assert 0.02 < (young.labels != other.labels).mean() < 0.3
    assert old.fractions[1].sum() == pytest.approx(0.85 * young.fractions[1].sum(), rel=1e-4)
    np.testing.assert_allclose(old.fractions.sum(axis=0), young.fractions.sum(axis=0), atol=1e-5)


def test_anatomies(tmp_path: Path) -> None:
    """Catches FreeSurfer's numbers taken for tissues, and the middle of the brain misplaced."""
    surfer = np.choose(made_up(), [0, 24, 3, 41, 49]).astype(np.int16)
    surfer[0, 0, 0] = 516  # scalp
    plain = of_labels(label_map(tmp_path / "a.nii.gz"))
    found = of_labels(label_map(tmp_path / "b.nii.gz", surfer))
    np.testing.assert_array_equal(found.fractions, plain.fractions)
    small = cropped(plain, margin=0)
    middle = np.argwhere(small.labels == 4).mean(axis=0)
    before = np.argwhere(made_up() == 4).mean(axis=0) * 2.0
    np.testing.assert_allclose(small.affine[:3, :3] @ middle + small.affine[:3, 3], before)
    pytest.importorskip("nilearn")
    brain = template(4)
    share = [(brain.labels == t).sum() / brain.inside.sum() for t in (1, 2, 3, 4)]
    assert 0.03 < share[0] < 0.3
    assert 0.3 < share[1] < 0.65
    assert 0.2 < share[2] < 0.5
    assert 0.01 < share[3] < 0.1


def test_a_slab_stays_whole(tmp_path: Path) -> None:
    """Catches brains that are bent out of their slab, corners of a brain taken for a slice, and a
    bias field that changes from slice to slice of it."""
    disc = np.hypot(*np.mgrid[-24:24, -24:24])
    slab = np.zeros((2, 48, 7, 48), dtype=np.uint8)
    for edge, tissue in ((20, 1), (18, 2), (12, 3), (5, 4)):
        slab[:, disc[None].repeat(7, 0).transpose(1, 0, 2) < edge] = tissue
    slab[0, 10:, 0] = 0
    slab[1, :, 6, 10:] = 0
    affine = np.diag([2.0, 2, 2, 1])
    np.savez(tmp_path / "slabs.npz", seg=slab, affine=affine)
    found = of_slabs(tmp_path / "slabs.npz")
    assert {anatomy.fractions.shape for anatomy in found} == {(4, 48, 5, 48)}
    np.testing.assert_allclose(found[0].affine[:3, 3], [0.0, 2.0, 0.0])
    bent = person(found[0], seed=1, name="sub-1", age=20.0)
    assert (bent.labels != found[0].labels).mean() > 0.02
    sizes = bent.inside.sum(axis=(0, 2))
    assert sizes.min() > 0.95 * sizes.max()
    bias = scanner("a", "T1w", "tissue", seed=1, shape=(48, 5, 48)).bias
    assert np.abs(np.diff(bias, axis=1)).max() < 2 * np.abs(np.diff(bias, axis=0)).max()


def test_wrong_words(tmp_path: Path) -> None:
    """Catches a traceback, and a folder that is half made."""
    out = ("phantom", "--out", tmp_path / "out")
    refused(motet(*out, "--contrasts", "T1"), "T1w")
    refused(motet(*out, "--contrasts", "T1w,T1w"), "twice")
    refused(motet(*out, "--anatomy", tmp_path / "none.nii.gz"), "none.nii.gz")
    (tmp_path / "empty").mkdir()
    refused(motet(*out, "--anatomy", tmp_path / "empty"), "no label map")
    np.savez(tmp_path / "bad.npz", x=np.zeros(3))
    refused(motet(*out, "--anatomy", tmp_path / "bad.npz"), "seg")
    shell = np.where(made_up() == 3, 0, made_up()).astype(np.uint8)
    refused(motet(*out, "--anatomy", label_map(tmp_path / "w.nii.gz", shell)), "no WM", "w.nii.gz")
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    anatomy = label_map(tmp_path / "a.nii.gz")
    refused(motet("phantom", "--out", tmp_path / "full", "--anatomy", anatomy), "not empty")

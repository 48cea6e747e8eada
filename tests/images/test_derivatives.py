"""What lies beside a harmonized image, and how it is called."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conformance.brains import AFFINE, brain, opened, study_of, write_brains
from motet.images.derivatives import derivative_writer, written
from motet.images.find import Name
from motet.images.images import Images
from motet.images.measures import EACH, measures


@pytest.fixture
def images(tmp_path: Path) -> Images:
    folder = write_brains(tmp_path / "ash", batches={"b": 2})
    beside = folder / "sub-b00/anat/sub-b00_T1w.json"
    said = {"EchoTime": 0.003, "Sources": ["mine"], "method": "theirs", "CommonMask": "nowhere"}
    beside.write_text(json.dumps(said | {"FlipAngle": float("nan")}))
    (folder / "sub-b01/anat/sub-b01_T1w.json").write_text("{ no JSON")
    return opened(folder, study_of("nyul", {}))


def write(images: Images, out: Path) -> None:
    with derivative_writer(out, images, description={"method": "nyul"}) as writer:
        for row in range(len(images)):
            writer.write(slice(row, row + 1), images.image(row).data[None])


def test_the_scan_is_described_on(images: Images, tmp_path: Path) -> None:
    """Catches echo times that are lost, and a scan's JSON that overrides what was done to it or,
    broken, stops everything."""
    write(images, tmp_path / "out")
    anat = tmp_path / "out/sub-b00/anat"
    document = json.loads((anat / "sub-b00_desc-nyul_T1w.json").read_text())
    assert document["EchoTime"] == 0.003
    assert document["method"] == "nyul"
    assert document["Sources"] == ["bids:source:sub-b00/anat/sub-b00_T1w.nii.gz"]
    assert document["FlipAngle"] is None
    assert "Resolution" not in document
    assert "CommonMask" not in document
    other = json.loads((tmp_path / "out/sub-b01/anat/sub-b01_desc-nyul_T1w.json").read_text())
    assert "EchoTime" not in other
    columns = json.loads((tmp_path / "out/features.json").read_text())
    assert columns["T1w_wm_volume"]["Units"] == "ml"
    assert columns["T1w_wm_volume"]["Description"].startswith("Volume of WM")
    assert columns["T1w_q50"] == {
        "Description": "Quantile of the intensities within the brain mask, 50 per cent."
    }
    assert all(len(columns[name]["Description"]) > 20 for name in images.features)


@pytest.mark.parametrize(("spacing", "label"), [(2.0, "2mm"), (1.5, "1p5mm")])
def test_another_grid_is_in_the_name(
    spacing: float, label: str, images: Images, tmp_path: Path
) -> None:
    """Catches a resampled image that passes for its source, and one that is not found again."""
    coarse = replace(images, preparation={"Resampled": {"Spacing": spacing}})
    write(coarse, tmp_path / "out")
    anat = tmp_path / "out/sub-b00/anat"
    (file,) = anat.glob("*_T1w.nii.gz")
    assert file.name == f"sub-b00_res-{label}_desc-nyul_T1w.nii.gz"
    assert Name.of(file) is not None
    assert (anat / f"sub-b00_res-{label}_desc-brain_mask.nii.gz").is_file()
    document = json.loads((anat / f"sub-b00_res-{label}_desc-nyul_T1w.json").read_text())
    assert document["Resolution"] == f"Cubes of {label}, by interpolation."
    mask = json.loads((anat / f"sub-b00_res-{label}_desc-brain_mask.json").read_text())
    assert mask["Resolution"] == document["Resolution"]
    again = written(tmp_path / "out", coarse, 0, "nyul")
    assert np.array_equal(again, coarse.image(0).data)


def test_common_voxels_are_in_the_axes_of_the_file(images: Images, tmp_path: Path) -> None:
    """Catches a mask in canonical axes beside an image in its own."""
    some = np.array([0, 5, 17 * 20 * 15 - 1])
    write(replace(images, common=some), tmp_path / "out")
    file = tmp_path / "out/sub-b00/anat/sub-b00_desc-common_mask.nii.gz"
    mask = nib.load(file)
    assert np.array_equal(mask.affine, AFFINE)
    inside = nib.as_closest_canonical(mask).get_fdata()
    assert np.array_equal(np.flatnonzero(inside), some)
    assert brain(np.random.default_rng(0), age=50, gain=1, shift=0)[0].shape == mask.shape


def test_measures_of_both_contrasts_are_those_of_the_files(tmp_path: Path) -> None:
    """Catches a table that judges T2w by what it was before, or by T1w, and one that keeps quiet
    about where its columns are from."""
    folder = write_brains(tmp_path / "ash", batches={"b": 2}, contrasts=("T1w", "T2w"))
    images = opened(folder, study_of("calamiti", {"planes": ["axial"]}))
    out = tmp_path / "out"
    found = []
    with derivative_writer(out, images, description={"method": "calamiti"}) as writer:
        for row in range(len(images)):
            first, second = images.pair(row)
            block = np.stack([2.0 * first.data, np.sqrt(np.abs(second.data))])[None]
            writer.write(slice(row, row + 1), block)
            found.append(images.measured(slice(row, row + 1), block)[0])
    lines = [line.split("\t") for line in (out / "features.tsv").read_text().splitlines()]
    assert lines[0][1:] == list(images.features)
    table = np.array([line[1:] for line in lines[1:]], dtype=float)
    assert np.array_equal(table, np.stack(found))
    for row, line in enumerate(lines[1:]):
        anat = out / line[0] / "anat"
        inside = nib.load(anat / f"{line[0]}_desc-brain_mask.nii.gz").get_fdata() > 0
        for contrast, part in (("T1w", slice(None, EACH)), ("T2w", slice(EACH, None))):
            file = nib.load(anat / f"{line[0]}_desc-calamiti_{contrast}.nii.gz")
            of_file = measures(file.get_fdata()[inside], contrast=contrast, voxel=512.0)
            np.testing.assert_allclose(table[row, part], of_file, rtol=1e-5)
            beside = json.loads((anat / f"{line[0]}_desc-calamiti_{contrast}.json").read_text())
            own, other = beside["Sources"]  # networks may have seen both
            assert own.endswith(f"{contrast}.nii.gz")
            assert {own[-11:], other[-11:]} == {"_T1w.nii.gz", "_T2w.nii.gz"}
    columns = json.loads((out / "features.json").read_text())
    assert columns["T2w_wm_volume"]["Units"] == "ml"
    assert "bids:source:sub-b00/anat/sub-b00_T2w.nii.gz" in json.dumps(columns)
    again = [written(out, own, 1, "calamiti") for own in images.each_contrast()]
    assert np.array_equal(again[1], np.sqrt(np.abs(images.pair(1)[1].data)))

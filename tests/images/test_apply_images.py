"""Applying a model of images to other people, and what is refused."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conformance.brains import AFFINE, SHAPE, study_of, write_brains
from motet.apply import apply_model
from motet.controls import pooled
from motet.errors import ModelError, MotetError, OutputFolderError, StudyFileError
from motet.plan import build_plan
from motet.simulation import simulate
from motet.sites import agreed, masks, open_sites


def studied(folder: Path, method: str, **options: object) -> Path:
    """A study of two small sites in ``out``."""
    paths = {
        site: folder / site if (folder / site).exists() else write_brains(folder / site, **how)
        for site, how in (
            ("b0", {"batches": {"b0": 4}, "seed": 0}),
            ("b1", {"batches": {"b1": 4}, "seed": 1}),
        )
    }
    study = study_of(method, options).model_copy(update={"sites": paths})
    simulate(study, out=folder / f"out-{method}", reports="later")
    return folder / f"out-{method}"


def regridded(source: Path, target: Path, *, shift: float = 0.0, cut: int = 0) -> Path:
    """The same people on another grid."""
    for file in source.rglob("*.nii.gz"):
        image = nib.load(file)
        affine = image.affine.copy()
        affine[0, 3] += shift
        data = np.asarray(image.dataobj)[cut:]
        (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(data, affine), target / file.relative_to(source))
    people = (source / "participants.tsv").read_bytes()
    (target / "participants.tsv").write_bytes(people)
    return target


@pytest.mark.parametrize("method", ["voxelwise_combat", "global_scaling"])
def test_another_grid(method: str, tmp_path: Path) -> None:
    """Catches voxels that are adjusted with those of another place, whoever's images they are."""
    model = studied(tmp_path, method)
    moved = regridded(tmp_path / "b0", tmp_path / "moved", shift=30.0)
    smaller = regridded(tmp_path / "b0", tmp_path / "smaller", cut=1)
    for data in (moved, smaller):
        for site in ("b0", "elsewhere"):
            with pytest.raises(ModelError, match="was fitted on images of 17 x 20 x 15 voxels"):
                apply_model(model, data, tmp_path / "new", site=site)
    assert not (tmp_path / "new").exists()
    apply_model(model, tmp_path / "b0", tmp_path / "new", site="b0")


def test_what_is_there_already(tmp_path: Path) -> None:
    """Catches an earlier result that is lost to another model, and people of two datasets in one
    derivative, whose sources would be looked for in the wrong place."""
    first, other = studied(tmp_path, "nyul"), studied(tmp_path, "z_score")
    out = tmp_path / "new"
    apply_model(first, tmp_path / "b0", out, site="b0")
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(OutputFolderError, match="a result of another model"):
        apply_model(other, tmp_path / "b0", out, site="b0")
    copy = regridded(tmp_path / "b0", tmp_path / "copy" / "b0")
    with pytest.raises(OutputFolderError, match="people of another dataset"):
        apply_model(first, copy, out, site="b0", participants=["b000"])
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    apply_model(first, tmp_path / "b0", out, site="b0")  # the same again


def test_a_missing_mask_is_said(tmp_path: Path) -> None:
    """Catches a threshold that stands for a mask and nobody is told."""
    model = studied(tmp_path, "z_score")
    (tmp_path / "b0/sub-b001/anat/sub-b001_desc-brain_mask.nii.gz").unlink()
    done = apply_model(model, tmp_path / "b0", tmp_path / "new", site="b0")
    assert any("sub-b001 has no brain mask" in words for words in done.warnings)


def test_named_control_voxels_are_evaluated(tmp_path: Path) -> None:
    """Catches a mask of the template that the controls of an evaluation do not find."""
    control = np.zeros(SHAPE, dtype=np.uint8)
    control[7:10, 8:12, 6:9] = 1
    for k, site in enumerate(("b0", "b1")):
        folder = write_brains(tmp_path / site, batches={site: 4}, seed=k)
        (folder / "masks").mkdir()
        nib.save(nib.Nifti1Image(control, AFFINE), folder / "masks/ventricles.nii.gz")
    study = study_of("ravel", {"control_mask": "ventricles"})
    sites = {site: tmp_path / site for site in ("b0", "b1")}
    tables = open_sites(study.model_copy(update={"sites": sites}))
    plan = build_plan(study, agreed(study, tables))
    found = pooled(tables, masks(tables, plan), plan)
    assert all(np.isfinite(found[site]).all() for site in sites)
    assert not np.allclose(found["b0"], tables["b0"].block(slice(None)))


def test_a_truth_on_another_grid_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """Catches hours of N4 before a sentence that could be said at once."""
    (tmp_path / "truth").mkdir()
    study = study_of("nyul", {"spacing": 9.0}, truth=tmp_path / "truth", metrics="full")
    nowhere = {site: tmp_path / f"no {site}" for site in ("a", "b")}
    with pytest.raises(StudyFileError, match=r"params\.spacing gives them another"):
        simulate(study.model_copy(update={"sites": nowhere}))
    with pytest.raises(MotetError, match="no folder of true images"):
        simulate(
            study_of("nyul", {}, truth=tmp_path / "none").model_copy(update={"sites": nowhere})
        )

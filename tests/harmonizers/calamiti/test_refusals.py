"""What people get wrong, and what they are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from conformance.brains import APART, opened, run, sites, study_of, write_brains
from motet.agreement import agree
from motet.apply import apply_model
from motet.client.alone import _without_foreign_reference, fitted_alone
from motet.client.apply import harmonized
from motet.errors import (
    DataError,
    ModelError,
    OutputFolderError,
    StudyFileError,
    TrainingError,
)
from motet.harmonizers.calamiti import fusion
from motet.params import parse_params
from motet.plan import model_document
from motet.registry import methods
from motet.simulation import simulate
from motet.store import save_model

BATCHES = {"b0": 3, "b1": 3, "b2": 3}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_brains(tmp_path / "all", batches=BATCHES, contrasts=("T1w", "T2w"))


def study(**params: Any) -> Any:
    return study_of("calamiti", {"planes": ["axial"], **params})


def test_no_second_contrast_says_how_to_do_without(folder: Path) -> None:
    """Catches a site that stops without a word of the single-contrast mode."""
    for file in folder.rglob("sub-b1*_T2w.nii.gz"):
        file.unlink()
    with pytest.raises(DataError, match="sub-b100, sub-b101, sub-b102 have no T2w") as raised:
        opened(folder, study())
    assert "second: ''" in str(raised.value)
    assert len(opened(folder, study(second=""))) == 9


def test_the_site_without_a_second_contrast_is_named(tmp_path: Path) -> None:
    """Catches a study of several sites that says of none of them who lacks the images."""
    split = {site: tmp_path / site for site in ("ash", "birch")}
    for site, home in split.items():
        have = ("T1w", "T2w") if site == "ash" else ("T1w",)
        write_brains(home, batches={site: 2}, contrasts=have)
    with pytest.raises(DataError, match=r"birch.*have no T2w") as raised:
        simulate(study().model_copy(update={"sites": split}), out=tmp_path / "out")
    assert "second: ''" in str(raised.value)
    assert not (tmp_path / "out" / "sites").exists()


def test_contrasts_on_different_grids_are_refused(folder: Path) -> None:
    """Catches pairs of voxels that are not of the same place."""
    file = next(folder.rglob("sub-b000_T2w.nii.gz"))
    image = nib.load(file)
    nib.save(nib.Nifti1Image(image.get_fdata()[1:], image.affine), file)
    with pytest.raises(DataError, match="another grid") as raised:
        opened(folder, study())
    assert "16 x 20 x 15" in str(raised.value)
    moved = image.affine.copy()
    moved[2, 3] += 5
    nib.save(nib.Nifti1Image(image.get_fdata(), moved), file)
    with pytest.raises(DataError, match=r"at \(-68, -70, -45\)\) than .* at \(-68, -70, -50\)"):
        opened(folder, study())
    assert "sub-b000_T2w" in str(raised.value)
    assert "Register" in str(raised.value)


def test_one_contrast_twice_is_refused() -> None:
    with pytest.raises(StudyFileError, match="another contrast than T1w"):
        parse_params(study(second="T1w"))


@pytest.mark.parametrize(("pixels", "words"), [(32, ""), (96, "too small"), (33, "multiple of 16")])
def test_an_image_too_small_for_the_networks(pixels: int, words: str, folder: Path) -> None:
    """Catches brains of a few pixels in a large empty slice."""
    asked = study(pixels=pixels)
    if words.startswith("multiple"):
        with pytest.raises(StudyFileError, match=words):
            parse_params(asked)
        return
    if not words:
        run(asked, sites(opened(folder, asked), APART))
        return
    # As soon as images are looked at: `motet plan` says so, too.
    with pytest.raises(DataError, match=words) as raised:
        opened(folder, asked)
    assert "params" in str(raised.value)
    assert "sub-b000_T1w" in str(raised.value)


def test_a_target_without_a_style_code(folder: Path) -> None:
    """Catches a finished model that brings people to a scanner that did not agree to it."""
    asked = study(targets=["b1"])
    images = opened(folder, asked)
    result, _ = run(asked, sites(images, APART))

    def to(name: str | None) -> np.ndarray:
        ((_, block), *_) = harmonized(
            sites(images, APART)["b0"],
            method=methods().get("calamiti"),
            params=result.plan.params.model_copy(update={"to": name}),
            schema=result.schema,
            shared=result.shared,
            model=result.models["b0"],
        )
        return np.array(block)

    assert not np.array_equal(to("b1"), to(None))
    with pytest.raises(ModelError, match="'b2' did not publish its style code") as raised:
        to("b2")
    assert "b1" in str(raised.value)
    assert "Add it to params.targets and train again" in str(raised.value)


def test_a_target_that_is_no_scanner(folder: Path) -> None:
    asked = study(to="b9")
    with pytest.raises(StudyFileError, match="'b9' is not among the batches"):
        run(asked, sites(opened(folder, asked), APART))


def test_a_training_that_diverges_stops_with_a_sentence(folder: Path) -> None:
    """Catches networks of NaN that are called finished."""
    asked = study(learning_rate=1e30)
    with pytest.raises(TrainingError, match="no longer a finite number"):
        run(asked, sites(opened(folder, asked), APART))


def test_the_network_that_combines_planes_diverges_with_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a second training whose networks of NaN are called finished."""
    monkeypatch.setitem(fusion.ADAMW, "lr", 1e300)
    asked = study(planes=["axial", "coronal"], fusion="network")
    with pytest.raises(TrainingError, match="no longer a finite number"):
        run(asked, sites(opened(folder, asked), APART))


def test_another_target_for_a_finished_model(folder: Path, tmp_path: Path) -> None:
    """Catches `--to` that changes nothing, a reference image without its own intensities, and
    a method that is asked for what it cannot do."""
    asked = study(targets=["b1"])
    result, _ = run(asked, sites(opened(folder, asked), APART))
    save_model(tmp_path / "shared", result.shared, model_document(result.plan))
    at = folder / "sub-b200" / "anat"
    files = f"{at}/sub-b200_T1w.nii.gz,{at}/sub-b200_T2w.nii.gz"

    def made(to: str) -> np.ndarray:
        out = tmp_path / f"out {to.replace('/', ' ')[-60:]}"
        apply_model(tmp_path, folder, out, site="new", to=to, participants=["b000"])
        (image,) = out.rglob("sub-b000_desc-calamiti_T1w.nii.gz")
        named = to.replace(f"{at}/", "")  # where the image lies is nobody else's business
        said = json.loads(image.with_name(image.name[:-7] + ".json").read_text())
        assert said["target"] == (named or "mean")
        assert image.with_name(image.name.replace("T1w", "T2w")).is_file()
        found: np.ndarray = nib.load(image).get_fdata()
        return found

    study_own, b1, mean, reference = made(""), made("b1"), made("mean"), made(files)
    assert np.array_equal(study_own, mean)
    assert not np.array_equal(b1, mean)
    assert not np.array_equal(reference, mean)
    there = tmp_path / "out b1"
    with pytest.raises(OutputFolderError, match=r"another target \(b1; these are .* to mean\)"):
        apply_model(tmp_path, folder, there, site="new", to="mean", participants=["b001"])
    with pytest.raises(OutputFolderError, match=r"another target \(b1\), which would be lost"):
        apply_model(tmp_path, folder, there, site="new")
    with pytest.raises(ModelError, match="1 reference image is named"):
        made(f"{at}/sub-b200_T1w.nii.gz")
    with pytest.raises(StudyFileError, match="'b7' is not among the batches"):
        made("b7")
    with pytest.raises(ModelError, match=r"sub-b209_T1w.*no such reference image"):
        made(files.replace("b200", "b209"))
    with pytest.raises(ModelError, match=r"sub-b200_T2w.*is a T2w, and a T1w is asked for"):
        made(",".join(reversed(files.split(","))))
    for mask in at.glob("*_mask.nii.gz"):
        mask.unlink()
    with pytest.raises(ModelError, match=r"no brain mask beside it.*sub-b200_desc-brain_mask"):
        made(files)


def test_a_site_alone_is_not_asked_for_others_styles(folder: Path) -> None:
    """Catches a control, each site by itself, that stops since a target is elsewhere."""
    asked = study(to="b1", targets=["b0"])
    table = sites(opened(folder, asked), APART)["b0"]
    params = _without_foreign_reference(parse_params(asked), table)
    assert (params.to, params.targets) == (None, ("b0",))
    _, shared, _ = fitted_alone(
        table, method=methods().get("calamiti"), params=params, schema=agree([table.described])
    )
    assert {"theta", "theta.0"} <= set(shared)


@pytest.mark.usefixtures("undrawn")
def test_slices_are_gone_when_the_result_is_written(folder: Path, tmp_path: Path) -> None:
    """Catches slices of people that stay in a study's folder after they were of use."""
    split = {b: tmp_path / b for b in ("b0", "b1")}
    for k, (site, home) in enumerate(split.items()):
        write_brains(home, batches={site: 3}, seed=k, contrasts=("T1w", "T2w"))
    simulate(study().model_copy(update={"sites": split}), out=tmp_path / "out")
    assert (tmp_path / "out/sites/b0/harmonized").is_dir()
    assert not list((tmp_path / "out").rglob(".slices"))

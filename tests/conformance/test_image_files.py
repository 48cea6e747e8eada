"""The battery over every registered method of images: scanners, models and files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conformance.brains import (
    AFFINE,
    BATCHES,
    METHODS,
    PAIRED,
    SHAPE,
    opened,
    run,
    sites,
    study_of,
    write_brains,
    written,
)
from conformance.ledgers import released
from motet.apply import apply_model
from motet.client.apply import harmonized
from motet.errors import ModelError
from motet.harmonizers._images.alone import ImageByImage
from motet.phases import Sum
from motet.plan import model_document
from motet.registry import methods
from motet.releases import bind
from motet.simulation import Result, simulate
from motet.store import load_model, save_model
from motet.training.options import TrainedParams
from motet.training.phase import Train


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    return {
        paired: written(tmp_path_factory.mktemp("brains"), method, batches=BATCHES)
        for paired, method in ((False, "nyul"), (True, "mispel"))
    }


@pytest.fixture
def folder(method: str, folders: dict[bool, Path]) -> Path:
    return folders[method in PAIRED]


@pytest.fixture(scope="module")
def result_of(folders: dict[bool, Path]) -> Callable[[str], Result]:
    """A method's study of two sites, each with a scanner of its name, run once."""

    @cache
    def once(method: str) -> Result:
        study = study_of(method, {})
        images = opened(folders[method in PAIRED], study)
        split = {b: images.where(images.batch == b).as_site(b) for b in ("b0", "b1")}
        result, _ = run(study, split)
        for array in result.shared.values():
            array.setflags(write=False)  # the next claim is about it, too
        return result

    return once


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_of_one_and_people_one_by_one(method: str, tmp_path: Path) -> None:
    """Catches a division by n - 1, a site that is not told that its one person's anatomy is taken
    for the scanner's effect, and a person who is harmonized otherwise beside others than alone."""
    study = study_of(method, {})
    images = opened(written(tmp_path, method, batches={"b0": 5, "b1": 1, "b2": 6}), study)
    result, volumes = run(study, sites(images, {b: b for b in ("b0", "b1", "b2")}))
    assert all(np.isfinite(volume).all() for volume in volumes.values())
    trained = issubclass(methods().get(method).params_type, TrainedParams)
    if not trained and not isinstance(methods().get(method), ImageByImage):
        assert [site for site, words in result.warnings if "one person" in words] == ["b1"]
    for site, table in sites(images, {b: b for b in ("b0", "b1", "b2")}).items():
        for row in (0, len(table) - 1):
            ((_, block),) = harmonized(
                table.where(np.arange(len(table)) == row),
                method=methods().get(method),
                params=result.plan.params,
                schema=result.schema,
                shared=result.shared,
                model=result.models[site],
            )
            assert np.array_equal(block[0], volumes[table.who(row)])


@pytest.mark.parametrize("method", METHODS)
def test_a_scanner_that_came_later(
    method: str, result_of: Callable[[str], Result], tmp_path: Path
) -> None:
    """Catches a new scanner of a known site that gets another scanner's effects, that moves the
    people of known ones, or that is not told to be new."""
    study, result = study_of(method, {}), result_of(method)
    written(tmp_path, method, batches={"b1": BATCHES["b1"], "later": 4}, seed=0)
    new = opened(tmp_path, study).as_site("b1")
    said: list[str] = []
    made = {}
    for rows, block in harmonized(
        new,
        method=methods().get(method),
        params=result.plan.params,
        schema=result.schema,
        shared=result.shared,
        model=result.models["b1"],
        say=said.append,
    ):
        for row, volume in zip(np.arange(len(new))[rows], block, strict=True):
            made[new.who(int(row))] = np.array(volume)
    assert len(made) == len(new)
    assert all(np.isfinite(volume).all() for volume in made.values())
    assert any("later" in words for words in said)


@pytest.mark.parametrize("method", METHODS)
def test_an_edited_model_is_refused(
    method: str, folder: Path, result_of: Callable[[str], Result], tmp_path: Path
) -> None:
    """Catches images that are harmonized with numbers nobody agreed on."""
    result = result_of(method)
    save_model(tmp_path / "shared", result.shared, model_document(result.plan))
    for name in (n for n, a in result.shared.items() if np.size(a)):
        changed = {k: np.array(a) for k, a in result.shared.items()}
        changed[name].reshape(-1).view(np.uint8)[0] ^= 1
        np.savez(tmp_path / "shared" / "model.npz", **changed)
        with pytest.raises(ModelError, match="SHA-256"):
            apply_model(tmp_path, folder, tmp_path / "out", site="new")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("method", METHODS)
def test_files(method: str, folder: Path, tmp_path: Path) -> None:
    """Catches a derivative without affine, header, mask or sources, a cast to integers, one that an
    unseen site cannot be given, people in another order of threads, and an array that leaves and
    is not in the ledger."""
    study = study_of(method, {})
    for k, site in enumerate(("b0", "b1", "new")):
        dtype = (np.float64, np.int16, np.float32)[k]
        written(tmp_path / site, method, batches={site: 4}, seed=k, dtype=dtype)
    paths = {site: tmp_path / site for site in ("b0", "b1")}
    study = study.model_copy(update={"sites": paths})
    result = simulate(study, out=tmp_path / "out")
    whose = ""
    if method in PAIRED:
        # Nobody there was scanned together with the others: people of a known scanner are.
        with pytest.raises(ModelError, match="no unit of scanner 'new'"):
            apply_model(tmp_path / "out", tmp_path / "new", tmp_path / "applied")
        shutil.rmtree(tmp_path / "new")
        write_brains(tmp_path / "new", batches={"b1": 4}, seed=2, dtype=np.float32)
        whose = "b1"
    applied = apply_model(tmp_path / "out", tmp_path / "new", tmp_path / "applied", site=whose)
    assert applied.people == 4
    apply_model(tmp_path / "out", tmp_path / "new", tmp_path / "by two", workers=2, site=whose)
    for file in (tmp_path / "applied").rglob("*.nii.gz"):
        other = tmp_path / "by two" / file.relative_to(tmp_path / "applied")
        assert other.read_bytes() == file.read_bytes()
    for home, source, stored in (
        (tmp_path / "out/sites/b0/harmonized", tmp_path / "b0", np.float64),
        (tmp_path / "out/sites/b1/harmonized", tmp_path / "b1", np.float32),
        (tmp_path / "applied", tmp_path / "new", np.float32),
    ):
        (person, *_) = sorted(p.name for p in source.glob("sub-*"))
        (file, *_) = sorted((home / person).rglob("*_T1w.nii.gz"))
        (own, *_) = sorted((source / person).rglob("*_T1w.nii.gz"))
        image, before = nib.load(file), nib.load(own)
        assert np.array_equal(image.affine, before.affine)
        assert image.shape == SHAPE
        assert image.get_data_dtype() == stored
        about = (file.parent / file.name.replace(".nii.gz", ".json")).read_text()
        assert f"bids:source:{own.relative_to(source).as_posix()}" in about
        assert '"model"' in about
        mask = nib.load(file.parent / own.name.replace("_T1w", "_desc-brain_mask"))
        assert mask.get_data_dtype() == np.uint8
        assert np.array_equal(mask.affine, AFFINE)
    arrays, _, sha256 = load_model(tmp_path / "out/shared")
    assert sha256 == result.sha256
    for home in (tmp_path / "out/sites/b0/harmonized", tmp_path / "applied"):
        common = sorted(home.rglob("*_desc-common_mask.nii.gz"))
        if "voxels" not in arrays:
            assert not common
            continue
        assert len(common) == len(list(home.glob("sub-*")))
        inside = nib.as_closest_canonical(nib.load(common[0])).get_fdata()
        assert np.array_equal(np.flatnonzero(inside), arrays["voxels"])
        (file,) = common[0].parent.glob("*_T1w.json")
        assert f"{common[0].parent.parent.name}/anat/{common[0].name}" in file.read_text()
    for array in arrays.values():
        assert array.dtype.kind in "fiub"
    for phase in (p for p in result.plan.phases if p.releases):
        lines = released(tmp_path / "out/sites/b0")
        sizes = result.plan.sizes(result.shared)
        exchanges = [(phase.name, phase.releases)]
        if isinstance(phase, Train):
            turns = map(phase.turn, range(phase.exchanges(phase.longest_training)))
            exchanges = [(f"{phase.name}@{turn.number}", phase.arrays(turn)) for turn in turns]
        if isinstance(phase, Sum) and phase.key:
            exchanges = [(phase.name, phase.of_keys(result.plan.params.keyed))]
        for name, specs in exchanges:
            (entry, *_) = (line for line in lines if line["phase"].rpartition("/")[2] == name)
            left = {array["name"]: tuple(array["shape"]) for array in entry["arrays"]}
            assert left == {spec.name: bind(spec.shape, sizes) for spec in specs}

"""The battery over every registered method of images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from conformance.brains import AFFINE, SHAPE, VARIANTS, opened, run, sites, study_of, write_brains
from motet.apply import apply_model
from motet.config import Study
from motet.images.images import Images
from motet.plan import build_plan
from motet.registry import methods
from motet.releases import bind
from motet.simulation import simulate
from motet.store import load_model

METHODS = [n for n in methods().names() if methods().get(n).card.data != "table"]
BATTERY = [
    pytest.param(name, options, id=f"{name}-{variant}")
    for name in METHODS
    for variant, options in VARIANTS.get(name, {"default": {}}).items()
    if "to" not in options
]
BATCHES = {"b0": 6, "b1": 5, "b2": 7}
APART = {b: b for b in BATCHES}
TOGETHER = {"b0": "y", "b1": "x", "b2": "y"}
ONE = dict.fromkeys(BATCHES, "one")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_brains(tmp_path_factory.mktemp("brains"), batches=BATCHES)


def alone(study: Study, images: Images) -> Iterator[tuple[str, np.ndarray]]:
    """The same steps over one site that has everybody."""
    from motet.agreement import agree
    from motet.client.alone import fitted_alone
    from motet.client.apply import harmonized

    (table,) = sites(images, ONE).values()
    schema = agree([table.described])
    plan = build_plan(study, schema)
    asked = {"method": plan.harmonizer, "params": plan.params}
    own, shared, model = fitted_alone(table, schema=schema, **asked)
    for name, array in shared.items():
        yield f"shared/{name}", array
    blocks = harmonized(table, schema=own, shared=shared, model=model, **asked)
    for rows, block in blocks:
        for row, volume in zip(np.arange(len(table))[rows], block, strict=True):
            yield table.who(int(row)), np.array(volume)


@pytest.mark.parametrize(("method", "options"), BATTERY)
def test_federated_equals_pooled(method: str, options: dict[str, Any], folder: Path) -> None:
    """Catches anything that depends on which scanners lie at one site, or on their order."""
    study = study_of(method, options)
    images = opened(folder, study)
    pooled = dict(alone(study, images))
    for assignment in (APART, TOGETHER):
        result, volumes = run(study, sites(images, assignment))
        assert {f"shared/{name}" for name in result.shared} == {
            name for name in pooled if name.startswith("shared/")
        }
        for name, array in result.shared.items():
            expected = pooled[f"shared/{name}"]
            scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
            np.testing.assert_allclose(array, expected, rtol=0, atol=1e-10 * scale, err_msg=name)
        assert len(volumes) == sum(BATCHES.values())
        for person, volume in volumes.items():
            np.testing.assert_allclose(volume, pooled[person], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("method", "options"), BATTERY)
def test_same_bytes_and_no_change_outside(
    method: str, options: dict[str, Any], folder: Path
) -> None:
    """Catches a draw, and background that is harmonized with the brain."""
    study = study_of(method, options)
    images = opened(folder, study)
    tables = sites(images, APART)
    first, second = run(study, tables), run(study, tables)
    assert first[0].sha256 == second[0].sha256
    whole = {"white_stripe", "z_score", "global_scaling"} | ({"ravel"} if options == {} else set())
    for row in range(len(images)):
        image, person = images.image(row), images.who(row)
        made = first[1][person]
        assert made.shape == image.data.shape
        assert np.array_equal(made, second[1][person])
        if method not in whole and not (method == "ravel" and options.get("white_stripe", True)):
            assert np.array_equal(made[~image.mask], image.data[~image.mask])


@pytest.mark.parametrize("method", METHODS)
def test_files(method: str, folder: Path, tmp_path: Path) -> None:
    """Catches a derivative without affine, header, mask or sources, a cast to integers, one that an
    unseen site cannot be given, people in another order of threads, and an array that leaves and
    is not in the ledger."""
    study = study_of(method, {})
    for k, site in enumerate(("b0", "b1", "new")):
        dtype = (np.float64, np.int16, np.float32)[k]
        write_brains(tmp_path / site, batches={site: 4}, seed=k, dtype=dtype)
    paths = {site: tmp_path / site for site in ("b0", "b1")}
    result = simulate(study.model_copy(update={"sites": paths}), out=tmp_path / "out")
    applied = apply_model(tmp_path / "out", tmp_path / "new", tmp_path / "applied")
    assert applied.people == 4
    apply_model(tmp_path / "out", tmp_path / "new", tmp_path / "by two", workers=2)
    for file in (tmp_path / "applied").rglob("*.nii.gz"):
        other = tmp_path / "by two" / file.relative_to(tmp_path / "applied")
        assert other.read_bytes() == file.read_bytes()
    for home, source, stored in (
        (tmp_path / "out/sites/b0/harmonized", tmp_path / "b0", np.float64),
        (tmp_path / "out/sites/b1/harmonized", tmp_path / "b1", np.float32),
        (tmp_path / "applied", tmp_path / "new", np.float32),
    ):
        (person, *_) = sorted(p.name for p in source.glob("sub-*"))
        (file,) = (home / person / "anat").glob("*_T1w.nii.gz")
        image, before = nib.load(file), nib.load(source / person / "anat" / f"{person}_T1w.nii.gz")
        assert np.array_equal(image.affine, before.affine)
        assert image.shape == SHAPE
        assert image.get_data_dtype() == stored
        about = (file.parent / file.name.replace(".nii.gz", ".json")).read_text()
        assert f"bids:source:{person}/anat/{person}_T1w.nii.gz" in about
        assert '"model"' in about
        mask = nib.load(file.parent / f"{person}_desc-brain_mask.nii.gz")
        assert mask.get_data_dtype() == np.uint8
        assert np.array_equal(mask.affine, AFFINE)
    arrays, _, sha256 = load_model(tmp_path / "out/shared")
    assert sha256 == result.sha256
    for home in (tmp_path / "out/sites/b0/harmonized", tmp_path / "applied"):
        common = sorted(home.rglob("*_desc-common_mask.nii.gz"))
        if methods().get(method).card.data != "registered images":
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
        lines = [
            json.loads(line)
            for line in (tmp_path / "out/sites/b0/ledger.jsonl").read_text().split("\n")[:-1]
        ]
        (entry,) = (line for line in lines if line["phase"] == phase.name)
        left = {array["name"]: tuple(array["shape"]) for array in entry["arrays"]}
        sizes = result.plan.sizes(result.shared)
        assert left == {spec.name: bind(spec.shape, sizes) for spec in phase.releases}

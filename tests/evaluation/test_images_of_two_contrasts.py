"""Pairs of images are judged one contrast at a time, each as where a study has it alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from conformance.brains import opened, sites, study_of, write_brains
from motet.bids.table import Table
from motet.config import Evaluation
from motet.errors import DataError
from motet.evaluation.battery import probes
from motet.evaluation.battery.judge import sample_of
from motet.evaluation.battery.splits import split
from motet.evaluation.images import ImageBatteries, ImageBattery, TrueImages
from motet.evaluation.result import Metric
from motet.images.images import Images
from motet.schema import Batch, Schema

SITE_OF = {"b0": "ash", "b1": "birch"}
TRAVELERS = {"ash": {"T1": "sub-b000", "T2": "sub-b001"}, "birch": {"T1": "sub-b100"}}
TRAVELERS["birch"]["T2"] = "sub-b101"
"""Others in truth: pairs of images of one grid are all that is needed."""


@pytest.fixture(scope="module", autouse=True)
def small_forests() -> Iterator[None]:
    """Forests are not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "TREES", 8)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pairs") / "all"
    return write_brains(home, batches={"b0": 6, "b1": 6}, contrasts=("T1w", "T2w"))


def tables_of(folder: Path, **params: str) -> dict[str, Images]:
    images = opened(folder, study_of("calamiti", {"planes": ["axial"], **params}))
    found = {}
    for site, table in sites(images, SITE_OF).items():
        assert isinstance(table, Images)
        found[site] = replace(table, travelers=TRAVELERS[site])
    return found


def battery_of(
    tables: Mapping[str, Images],
    truth: Path | None,
    *,
    by_contrast: bool = True,
) -> Any:
    """A battery of these images; every third person is held out."""
    whole: Mapping[str, Table] = tables
    fit = {site: np.arange(len(table)) % 3 > 0 for site, table in tables.items()}
    first = tables["ash"]
    batches = tuple(Batch(site, name) for name, site in SITE_OF.items())
    schema = Schema(features=first.features, units=first.units, covariates=(), batches=batches)
    sample: Any = sample_of(whole, fit, SimpleNamespace(schema=schema))  # type: ignore[arg-type]
    splits, settings = split(sample, held_out=0.3, seed=1), Evaluation(permutations=20)

    def of_one(tables: Mapping[str, Images], truth: TrueImages | None) -> ImageBattery:
        return ImageBattery(tables, sample, splits, settings=settings, seed=1, truth=truth)

    known = None if truth is None else TrueImages(truth)
    return ImageBatteries(tables, known, of_one) if by_contrast else of_one(tables, known)


def spoilt(image: np.ndarray, row: int) -> np.ndarray:
    """An image in which tissues change places."""
    return image + np.random.default_rng(row).normal(0, 40, image.shape)


def judged(
    tables: Mapping[str, Images],
    truth: Path | None,
    *,
    by_contrast: bool = True,
) -> tuple[dict[str, Metric], list[str]]:
    """T1w as measured, T2w harmonized badly on purpose."""
    battery = battery_of(tables, truth, by_contrast=by_contrast)
    battery.raw()
    for site, table in tables.items():
        for row in range(len(table)):
            made = [
                spoilt(image.data, row) if contrast == "T2w" else image.data
                for image, contrast in zip(table.pair(row), table.contrasts, strict=True)
            ]
            block = np.stack(made)[None] if len(made) > 1 else made[0][None]
            battery.add("harmonized", site, [(slice(row, row + 1), block)])
    metrics, notes = battery.judged()
    return {metric.name: metric for metric in metrics}, notes


@pytest.fixture(scope="module")
def of_both(folder: Path) -> tuple[dict[str, Metric], list[str]]:
    return judged(tables_of(folder), folder)


@pytest.mark.parametrize("contrast", ["T1w", "T2w"])
def test_each_contrast_is_judged_as_where_it_is_alone(
    contrast: str, folder: Path, of_both: tuple[dict[str, Metric], list[str]]
) -> None:
    """Catches T2w that is never looked at, that is compared with T1w or its truth, tissues in the
    order of the other contrast, and a contrast whose figures depend on the other's."""
    alone = tables_of(folder, contrast=contrast, second="")
    end = "_T2w" if contrast == "T2w" else ""
    found = {n: m for n, m in of_both[0].items() if n.endswith("_T2w") == bool(end)}
    for by_contrast in (False, True):
        expected, notes = judged(alone, folder, by_contrast=by_contrast)
        assert {f"{name}{end}" for name in expected} == set(found)
        assert any("travelers" in name for name in expected)
        for name, metric in expected.items():
            assert metric.readings == found[f"{name}{end}"].readings, name
            assert found[f"{name}{end}"].title == f"{metric.title} ({contrast})"
        assert {f"{contrast}: {note}" for note in notes} <= set(of_both[1])


def test_what_is_bad_in_one_contrast_shows_there(
    of_both: tuple[dict[str, Metric], list[str]],
) -> None:
    """Catches a second contrast that a method spoils and nobody is told of."""
    metrics, _ = of_both

    def value(name: str) -> float:
        return float(metrics[name].readings["harmonized"].value or 0.0)

    assert value("image_ssim_to_truth") > 0.999
    for name in ("image_ssim_to_truth", "image_psnr_to_truth", "tissue_dice"):
        assert value(f"{name}_T2w") < 0.9 * value(name), name
    for name in ("image_mae_to_truth", "image_wasserstein_gm_to_truth"):
        assert value(f"{name}_T2w") > value(name) + 0.01, name


def test_what_failed_is_raw_in_both(folder: Path) -> None:
    """Catches half of a site's images that count though the rest was never made."""
    tables = tables_of(folder)
    battery = battery_of(tables, None)
    battery.raw()
    pair = np.stack([spoilt(image.data, 0) for image in tables["ash"].pair(0)])
    battery.add("local_only", "ash", [(slice(0, 1), pair[None])])
    battery.forget("local_only", "ash")
    for metric in battery.judged()[0]:
        assert metric.readings["local_only"] == metric.readings["raw"], metric.name


def test_a_truth_of_the_first_contrast_alone(folder: Path, tmp_path: Path) -> None:
    """Catches a study that is refused since its truth is known of T1w, one that keeps quiet about
    T2w, and a truth that lacks somebody's."""
    first = tmp_path / "first"
    shutil.copytree(folder, first, ignore=shutil.ignore_patterns("*_T2w.nii.gz"))
    tables = tables_of(folder)
    TrueImages(first).check(tables)
    metrics, notes = judged(tables, first)
    assert "image_ssim_to_truth" in metrics
    assert not any(name.endswith("_to_truth_T2w") for name in metrics)
    assert "tissue_dice_T2w" in metrics
    assert any("no T2w images" in note for note in notes)
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)
    TrueImages(whole).check(tables)
    lost = whole / "sub-b003/anat/sub-b003_T2w.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3)), np.eye(4)), lost)
    with pytest.raises(DataError, match="another grid"):
        TrueImages(whole).check(tables)
    lost.unlink()
    with pytest.raises(DataError, match=r"sub-b003_T2w.nii.gz: The file is missing"):
        TrueImages(whole).check(tables)

"""Image methods beside the formulas of their papers, over everybody's voxels in one matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import motet
from conformance.brains import AFFINE, SHAPE, opened, run, sites, study_of, write_brains
from motet.errors import DataError
from motet.harmonizers._images.quantiles import matched, quantile_function
from motet.harmonizers._images.white_stripe import stripe
from motet.images.images import Images
from motet.images.tissues import segment

BATCHES = {"b0": 6, "b1": 5, "b2": 7}
Float = np.ndarray


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_brains(tmp_path_factory.mktemp("brains"), batches=BATCHES)


def ran(folder: Path, method: str, **options: Any) -> tuple[Images, Any, dict[str, Float]]:
    study = study_of(method, options)
    images = opened(folder, study)
    result, volumes = run(study, sites(images, {b: b for b in BATCHES}))
    return images, result, volumes


def flat(images: Images, volumes: dict[str, Float], places: Float) -> Float:
    """Harmonized voxels (n, p) in the order of the images' rows."""
    return np.stack([volumes[images.who(r)].ravel()[places] for r in range(len(images))])


def raw(images: Images, places: Float) -> Float:
    return np.stack([i.data.astype(float).ravel()[places] for i in images.each()])


def test_common_voxels(folder: Path) -> None:
    """Catches a mask of some people, and a threshold that is off by one."""
    images, result, _ = ran(folder, "global_scaling")
    masks = np.stack([image.mask.ravel() for image in images.each()])
    assert np.array_equal(result.shared["voxels"], np.flatnonzero(masks.all(axis=0)))
    _, most, _ = ran(folder, "global_scaling", coverage=0.5)
    assert np.array_equal(most.shared["voxels"], np.flatnonzero(masks.sum(axis=0) >= 9))


def test_global_scaling(folder: Path) -> None:
    """Fortin 2017: ybar_s = a_s + b_s ybar by least squares over voxels; y* = (y - a_s) / b_s."""
    images, result, volumes = ran(folder, "global_scaling")
    places = result.shared["voxels"]
    V = raw(images, places)
    after = flat(images, volumes, places)
    for batch in BATCHES:
        mine = images.batch == batch
        X = np.column_stack([np.ones(len(places)), V.mean(axis=0)])
        a, b = np.linalg.lstsq(X, V[mine].mean(axis=0), rcond=None)[0]
        np.testing.assert_allclose(after[mine], (V[mine] - a) / b, rtol=1e-10, atol=1e-10)


def control_of(images: Images, places: Float) -> Float:
    csf = []
    for image in images.each():
        classes = np.full(image.data.shape, 9)
        classes[image.mask] = segment(image.brain)
        csf.append(classes.ravel()[places] == 0)
    return np.flatnonzero(np.all(csf, axis=0))


@pytest.mark.parametrize("by", ["gram", "subspace"])
@pytest.mark.parametrize("covariates", [[], ["age"]])
def test_ravel(by: str, covariates: list[str], folder: Path) -> None:
    """Fortin 2016: right singular vectors of the uncentred control rows; joint least squares."""
    images, result, volumes = ran(folder, "ravel", by=by, covariates=covariates, components=2)
    places = result.shared["voxels"]
    striped = []
    for image in images.each():
        mean, spread = stripe(image, "T1w", 0.05)
        striped.append((image.data.astype(float).ravel()[places] - mean) / spread)
    V = np.stack(striped).T
    control = control_of(images, places)
    assert np.array_equal(result.shared["control"], places[control])
    Z = np.linalg.svd(V[control], full_matrices=False)[2][:2].T
    D = np.column_stack([Z, *(images.covariates[c].to_numpy() for c in covariates)])
    gamma = np.linalg.lstsq(D, V.T, rcond=None)[0][:2]
    expected = V.T - Z @ gamma + V.mean(axis=1)
    tolerance = 1e-10 if by == "gram" else 1e-8
    np.testing.assert_allclose(flat(images, volumes, places), expected, rtol=0, atol=tolerance)


def test_own_control_mask(folder: Path) -> None:
    """Catches a control mask that is passed over, or not known, or on the file's axes."""
    with pytest.raises(DataError, match="There is no mask 'ventricles'") as caught:
        ran(folder, "ravel", control_mask="ventricles")
    assert "masks/ventricles.nii.gz" in str(caught.value)
    own = np.zeros(SHAPE, dtype=np.uint8)
    own[5:9, 8:12, 6:9] = 1
    (folder / "masks").mkdir()
    nib.save(nib.Nifti1Image(own, AFFINE), folder / "masks/ventricles.nii.gz")
    _, result, _ = ran(folder, "ravel", control_mask="ventricles")
    expected = np.flatnonzero(own[::-1])  # the file's first axis runs to the left
    assert np.array_equal(result.shared["control"], expected)


def test_functional_normalization(folder: Path) -> None:
    """Fortin 2014: quantiles on the principal components of control voxels."""
    images, result, volumes = ran(folder, "functional_normalization", components=2, points=101)
    places = result.shared["voxels"]
    control = raw(images, places[control_of(images, places)])
    centred = control - control.mean(axis=0)
    Z = np.linalg.svd(centred, full_matrices=False)[0][:, :2]
    Q = np.stack([np.quantile(i.brain, np.linspace(0, 1, 101)) for i in images.each()])
    beta = np.linalg.lstsq(np.column_stack([np.ones(len(Z)), Z]), Q, rcond=None)[0][1:]
    for row, image in enumerate(images.each()):
        target = np.maximum.accumulate(Q[row] - Z[row] @ beta)
        expected = np.interp(image.brain, Q[row], target)
        found = volumes[images.who(row)][image.mask]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"adjust": "location"}, {"reference": "b1"}])
def test_image_path_is_the_table_path(options: dict[str, Any], folder: Path) -> None:
    """Catches a voxel that is cast, or another order of sums, on the way through files."""
    images, result, volumes = ran(folder, "voxelwise_combat", covariates=["age", "sex"], **options)
    places = result.shared["voxels"]
    table = motet.harmonize(
        pd.DataFrame(raw(images, places)),
        batch=images.batch,
        covariates=images.covariates,
        **options,
    )
    assert flat(images, volumes, places).tobytes() == table.to_numpy().tobytes()


def test_mica_without_travelers(folder: Path) -> None:
    """Wrobel 2020, with exact quantiles in place of the grid; brains of 1,400 voxels only."""
    images, _, volumes = ran(folder, "mica")
    brains = [image.brain for image in images.each()]
    fine = np.linspace(0, 1, 200_001)
    Q = np.stack([np.quantile(brain, fine) for brain in brains])
    target = Q.mean(axis=0)
    for row, image in enumerate(images.each()):
        own = Q[images.batch == images.batch[row]].mean(axis=0)
        expected = np.interp(brains[row], own, target)
        found = volumes[images.who(row)][image.mask]
        assert np.abs(found - expected).mean() < 2e-4 * np.ptp(target)


def test_a_thousand_points_suffice() -> None:
    """A brain of 200,000 voxels: 1e-4 of the range on average from the exact quantile map."""
    rng = np.random.default_rng(1)
    means, shares = (25.0, 65.0, 100.0), (0.15, 0.5, 0.35)
    source, target = (
        rng.choice(scale * np.array(means), 200_000, p=shares) + rng.normal(0, 5.0, 200_000)
        for scale in (1.0, 1.4)
    )
    exact = np.sort(target)[np.argsort(np.argsort(source))]
    grid = [quantile_function(values, 1000) for values in (source, target)]
    found = matched(source, *grid)
    assert np.abs(found - exact).mean() < 1e-4 * np.ptp(target)
    assert (np.diff(found[np.argsort(source)]) >= 0).all()


def test_mica_with_travelers(folder: Path) -> None:
    """Catches a traveler who is not brought to their own scan at the target, and a target site
    that is changed."""
    from dataclasses import replace

    # Held out or not: a traveler is needed.
    study = study_of("mica", {"to": "b0", "travelers": ["T1"]}, held_out=0.5)
    images = opened(folder, study)
    tables = {
        site: replace(table, travelers={"T1": str(table.people[0])}, consented=frozenset({"T1"}))
        for site, table in sites(images, {b: b for b in BATCHES}).items()
    }
    result, volumes = run(study, tables)
    assert set(result.shared) == {"traveler/T1"}
    one, other = (
        images.where(images.people == "sub-b000"),
        images.where(images.people == "sub-b200"),
    )
    here, there = one.image(0), other.image(0)
    assert np.array_equal(volumes["sub-b000"], here.data)
    found = np.sort(volumes["sub-b200"][there.mask])
    expected = np.quantile(here.brain, np.linspace(0, 1, len(found)))
    assert np.abs(found - expected).mean() < 2e-3 * np.ptp(expected)

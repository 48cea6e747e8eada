"""The judgement of images beside figures computed here, from the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from conformance.brains import AFFINE, brain
from motet.config import Study
from motet.errors import DataError, MotetError, StudyFileError
from motet.evaluation.battery import probes
from motet.evaluation.images import compared, look
from motet.evaluation.images.tissues import distance_metrics
from motet.images.fidelity import fidelity
from motet.simulation import Result, simulate

SITES = ("ash", "birch")
SCANNERS = {"a": (1.0, 0.0), "b": (1.5, 20.0), "c": (0.7, 5.0)}
"""Gain and shift: the truth is the first's."""
PEOPLE = {"ash": "aaaaaaa", "birch": "bcbcbcbcbcbc"}
"""Scanner of each of a site's people; travelers were in the site's first."""
TRAVELERS = ("sub-t1", "sub-t2")


@pytest.fixture(scope="module", autouse=True)
def small_forests() -> Iterator[None]:
    """Forests are not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "TREES", 8)
        yield


def save(file: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), file)


def scanned(name: str, gain: float, shift: float, noise: int) -> tuple[np.ndarray, np.ndarray]:
    """Somebody's brain: the same anatomy whichever scanner; the noise is the scan's."""
    made, inside = brain(np.random.default_rng(sum(map(ord, name))), age=50.0, gain=1.0, shift=0.0)
    rng = np.random.default_rng(noise)
    return np.where(inside, gain * made + shift + rng.normal(0, 0.5, made.shape), 0.0), inside


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites of a few people, two who were scanned at both, and the truth."""
    home = tmp_path_factory.mktemp("consortium")
    for k, site in enumerate(SITES):
        scanners = {f"sub-{site}{i}": scanner for i, scanner in enumerate(PEOPLE[site])}
        scanners |= dict.fromkeys(TRAVELERS, PEOPLE[site][0])
        for name, scanner in scanners.items():
            data, inside = scanned(name, *SCANNERS[scanner], noise=k)
            anat = Path(name, "anat")
            save(home / site / anat / f"{name}_T1w.nii.gz", data)
            save(home / site / anat / f"{name}_desc-brain_mask.nii.gz", inside.astype(np.uint8))
            true, _ = scanned(name, *SCANNERS["a"], noise=9)
            save(home / "truth" / anat / f"{name}_T1w.nii.gz", true)
        rows = "".join(f"{name}\t{scanner}\n" for name, scanner in scanners.items())
        (home / site / "participants.tsv").write_text(f"participant_id\tscanner\n{rows}")
    return home


def study_of(folder: Path, method: str = "z_score", **evaluation: object) -> Study:
    return Study.model_validate(
        {
            "study": "judged",
            "method": method,
            "sites": {site: folder / site for site in SITES},
            "evaluation": {"held_out": 0.4, "permutations": 40, **evaluation},
            "seed": 4,
        }
    )


@pytest.fixture(scope="module")
def result(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    study = study_of(folder, method="nyul", truth=folder / "truth")
    return simulate(study, out=tmp_path_factory.mktemp("out") / "o", reports="later")


def read(file: Path) -> np.ndarray:
    return nib.as_closest_canonical(nib.load(file)).get_fdata()


def people(result: Result, used: str) -> list[tuple[str, str]]:
    found = []
    for site in SITES:
        lines = (result.out / "sites" / site / "cohort.tsv").read_text().split("\n")[1:-1]
        found += [(site, line.split("\t")[0]) for line in lines if line.endswith(f"\t{used}")]
    return found


def test_figures_are_those_of_the_files(folder: Path, result: Result) -> None:
    """Catches people of the fit who are judged, a line of units for each person or site, another
    mask, versions that are taken for each other, and a truth of somebody else."""
    judged = result.judgements["simulation"]

    def image(site: str, name: str, version: str) -> np.ndarray:
        anat = Path(name, "anat")
        if version == "raw":
            return read(folder / site / anat / f"{name}_T1w.nii.gz")
        if version == "truth":
            return read(folder / "truth" / anat / f"{name}_T1w.nii.gz")
        return read(
            result.out / "sites" / site / "harmonized" / anat / f"{name}_desc-nyul_T1w.nii.gz"
        )

    def inside(site: str, name: str) -> np.ndarray:
        return read(folder / site / name / "anat" / f"{name}_desc-brain_mask.nii.gz") > 0

    held = people(result, "held_out")
    assert 4 <= len(held) < 19
    every = np.concatenate([image(*who, "truth")[inside(*who)] for who in held])
    span = float(np.subtract(*np.quantile(every, (0.999, 0.001))))
    for version in ("raw", "harmonized"):
        fit = people(result, "fit")
        x, y = (
            np.concatenate([image(*who, v)[inside(*who)] for who in fit])
            for v in (version, "truth")
        )
        slope, shift = np.polyfit(x, y, 1)
        found = [
            fidelity(
                slope * image(*who, version) + shift,
                image(*who, "truth"),
                inside(*who),
                data_range=span,
                contrast="T1w",
            )
            for who in held
        ]
        for name, expected in (
            ("ssim", [f.ssim for f in found]),
            ("psnr", [f.psnr for f in found]),
            ("mae", [f.mae for f in found]),
            ("dice_gm", [f.dice["gm"] for f in found]),
            ("wasserstein_wm", [f.wasserstein["wm"] for f in found]),
        ):
            reading = judged.metric(f"image_{name}_to_truth").readings[version]
            of_each = pd.Series(expected, index=[who for _, who in held]).groupby(level=0).mean()
            assert reading.value == pytest.approx(of_each.mean(), rel=1e-3), (version, name)
            assert reading.n == len(of_each)


def test_versions_are_themselves(result: Result) -> None:
    """Catches rows of the pooled table that go to other people: federated and pooled are one."""
    judged = result.judgements["simulation"]
    names = [m.name for m in judged.metrics if m.name.startswith(("image_", "tissue_"))]
    assert len(names) == 4 + 11 + 5
    for name in names:
        readings = judged.metric(name).readings
        assert readings["pooled"].value == pytest.approx(readings["harmonized"].value, rel=1e-5)
        if "dice" not in name:
            for one, other in (("harmonized", "raw"), ("local_only", "raw")):
                apart = pytest.approx(readings[other].value, rel=1e-3)
                assert readings[one].value != apart, name


def test_what_was_done_shows(result: Result) -> None:
    """Catches metrics that do not tell a scanner's gain from its removal."""
    judged = result.judgements["simulation"]

    def reading(name: str, version: str) -> float:
        return float(judged.metric(name).readings[version].value or 0.0)

    for name in ("image_ssim_to_truth", "image_ssim_travelers", "image_psnr_travelers"):
        assert reading(name, "harmonized") > reading(name, "raw")
    for name in ("image_mae_to_truth", "tissue_distance_gm", "image_wasserstein_gm_to_truth"):
        assert reading(name, "harmonized") < reading(name, "raw") / 2
    for name in ("site_accuracy_slices", "site_accuracy_distributions"):
        assert reading(name, "raw") == 1.0
        assert reading(name, "harmonized") < 0.8
    assert reading("tissue_dice", "raw") == 1.0
    assert 0.97 < reading("tissue_dice", "harmonized") <= 1.0


def test_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a large study whose every image is compared, people drawn by their place, a site
    that is not among those compared, and travelers of whom the first take all turns."""
    monkeypatch.setattr(compared, "AT_MOST", 3)
    names = np.array([f"sub-{i}" for i in range(9)])
    batch = np.arange(9) % 3
    chosen = set()
    for order in (np.arange(9), np.arange(9)[::-1]):
        sample = SimpleNamespace(names=names[order], batch=batch[order])
        rows = compared.some_of(range(9), sample, seed=1)
        chosen |= {names[order][row] for row in rows}
        assert sorted(batch[order][rows]) == [0, 1, 2]
    assert len(chosen) == 3
    nobody = np.zeros(9, dtype=bool)
    travelers = SimpleNamespace(
        names=np.repeat(names[:3], 3), person=np.repeat(np.arange(3), 3), batch=batch, fit=nobody
    )
    pairs = compared.pairs_of(travelers, lambda one, other: True, seed=1)
    assert [travelers.person[one] for one, _ in pairs] == [0, 1, 2]
    alone = SimpleNamespace(
        names=names[[0, 0]], person=np.zeros(2, dtype=int), batch=batch[:2], fit=nobody[:2]
    )
    assert compared.pairs_of(alone, lambda one, other: True, seed=1) == []


def test_held_out_travelers_alone() -> None:
    """Catches travelers of the fit among those held out, one who was held out at some of the sites
    only, and a single one who is held out and then stands for all."""
    person = np.repeat(np.arange(4), 2)
    sample = SimpleNamespace(
        names=np.array([f"sub-{k}" for k in person]), person=person, batch=np.arange(8) % 2
    )

    def compared_of(*fit: int) -> list[int]:
        sample.fit = np.isin(np.arange(8), fit)
        pairs = compared.pairs_of(sample, lambda one, other: True, seed=1)
        return [int(person[one]) for one, _ in pairs]

    assert compared_of(0, 1, 3) == [2, 3]
    assert compared_of(0, 1, 3, 5) == [0, 1, 2, 3]
    assert compared_of() == [0, 1, 2, 3]


def test_looks_are_small_and_of_everybody() -> None:
    """Catches a sample that keeps its whole brain in memory or is too large, pixels that miss part
    of a slice, and a single voxel that counts as a hundredth of a brain."""
    brain = np.random.default_rng(0).normal(size=23_456)
    some = look.sampled(brain)
    assert some.base is None
    assert look.SAMPLE / 2 < len(some) <= look.SAMPLE
    plane = np.random.default_rng(1).random((31, 19))
    weights = np.diff(np.linspace(0, 31, 17).astype(int))
    pixels = look._small(plane).reshape(16, 16)
    np.testing.assert_allclose(weights @ pixels / 31, look._small(plane.mean(0)[None])[:16])
    volume = np.zeros((20, 20, 20)) + np.random.default_rng(2).normal(100, 5, (20, 20, 20))
    mask = np.ones(volume.shape, dtype=bool)
    image = SimpleNamespace(brain=volume.ravel(), mask=mask)
    plain = look.look(image, volume, contrast="T1w")
    volume[0, 0, 0] = 1e4
    image = SimpleNamespace(brain=volume.ravel(), mask=mask)
    spoilt = look.look(image, volume, contrast="T1w")
    assert np.abs(spoilt.distribution - plain.distribution).max() < 1.0


def test_distance_is_wasserstein() -> None:
    """Catches a distance in other units, or of other distributions."""
    rng = np.random.default_rng(3)
    values = [rng.normal(m, s, 50_000) for m, s in ((10, 1), (12, 2))]
    grid = (np.arange(look.POINTS) + 0.5) / look.POINTS
    looks = [
        SimpleNamespace(
            spread=2.0, tissues=dict.fromkeys(("csf", "gm", "wm"), np.quantile(v, grid))
        )
        for v in values
    ]
    found = distance_metrics({"raw": looks}, np.arange(2), np.arange(2), permutations=20, seed=1)
    # Both lie half of their distance from the mean of the two.
    expected = wasserstein_distance(*values) / 2 / 2.0
    assert found[1].readings["raw"].value == pytest.approx(expected, rel=0.02)


def test_units_do_not_matter_to_travelers() -> None:
    """Catches scans that look more alike because a method counts from another zero."""
    mask = np.zeros((20, 22, 18), dtype=bool)
    mask[3:17, 3:19, 3:15] = True
    rng = np.random.default_rng(5)
    one = rng.normal(100, 20, mask.shape)
    other = one + rng.normal(0, 8, mask.shape)
    found = []
    for gain, shift in ((1.0, 0.0), (0.05, -5.0), (1.0, 1000.0)):
        a, b = (gain * scan + shift for scan in (one, other))
        low, reach = compared.data_range(np.concatenate([a[mask], b[mask]]))
        scans = ((scan - low) / reach for scan in (a, b))
        found.append(compared.compare(*scans, mask, span=1.0, contrast="T1w"))
    for name in compared.OF_TRAVELERS:
        if name in found[0]:
            assert found[1][name] == pytest.approx(found[0][name], rel=1e-9), name
            assert found[2][name] == pytest.approx(found[0][name], rel=1e-9), name


def test_without_controls(folder: Path, result: Result, tmp_path: Path) -> None:
    """Catches controls that are fitted though nobody wants them, sums, and other figures."""
    study = study_of(folder, "nyul", truth=folder / "truth", metrics="uncontrolled")
    found = simulate(study, out=tmp_path / "o", reports="now").judgements
    assert list(found) == ["simulation"]
    for metric in found["simulation"].metrics:
        assert not {"local_only", "pooled"} & set(metric.readings)
        if metric.name.startswith("image_"):
            controlled = result.judgements["simulation"].metric(metric.name)
            assert metric.readings["harmonized"] == controlled.readings["harmonized"]
    assert "Images were judged by 22" in (tmp_path / "o" / "report.html").read_text()


def test_without_images_their_measures(folder: Path) -> None:
    """Catches a judgement that is silent about what it did not see."""
    judged = simulate(study_of(folder)).judgements["simulation"]
    assert not judged.has("site_accuracy_slices")
    assert any("their measures alone" in note for note in judged.notes)


def test_a_truth_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    """Catches a study that runs for hours before it says that its truth is another's."""
    out = tmp_path / "o"

    def refused(error: type[MotetError], words: str, truth: Path, **options: object) -> None:
        study = study_of(folder, truth=truth).model_copy(update=options)
        with pytest.raises(error, match=words):
            simulate(study, out=out)
        assert not out.exists()

    refused(StudyFileError, "no folder of true images", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refused(DataError, r"sub-ash0_T1w.nii.gz: The file is missing", tmp_path / "empty")
    other = tmp_path / "other"
    for file in (folder / "truth").rglob("*.nii.gz"):
        save(other / file.relative_to(folder / "truth"), nib.load(file).get_fdata(), np.eye(4))
    refused(DataError, "another grid", other)

"""Made-up brains of a few thousand voxels: NIfTI files of one folder, and sites made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from motet.bids.table import Table
from motet.client.opening import open_site
from motet.config import Privacy, Study
from motet.images.images import Images
from motet.params import parse_params
from motet.registry import methods
from motet.simulation import Result, run_sites
from motet.training.options import TrainedParams

SHAPE = (17, 20, 15)
AFFINE = np.array([[-8.0, 0, 0, 60], [0, 8.0, 0, -70], [0, 0, 8.0, -50], [0, 0, 0, 1]])
"""Left to right, so that canonical axes are not those of the file."""

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "ravel": {
        "default": {},
        "covariates": {"covariates": ["age"]},
        "centred": {"center": True, "components": 2, "covariates": ["age"]},
        "plain": {"white_stripe": False},
        "subspace": {"by": "subspace", "components": 2},
    },
    "voxelwise_combat": {
        "default": {"covariates": ["age", "sex"]},
        "location": {"adjust": "location"},
        "reference": {"reference": "b1", "covariates": ["age"]},
    },
    "functional_normalization": {"default": {"components": 1}},
    "nyul": {"default": {}},
    "mica": {"default": {}, "travelers": {"to": "b0", "travelers": ["T1"]}},
    "calamiti": {
        "default": {"planes": ["sagittal"]},
        "one contrast, fused": {
            "second": "",
            "planes": ["sagittal", "axial"],
            "fusion": "network",
            # Two of them lie at one site of some assignments.
            "targets": ["b2", "b0"],
            "style_steps": 3,
            "detail": 0.7,
        },
    },
    "murd": {"default": {}, "two planes": {"planes": ["coronal", "sagittal"], "appearance": 2}},
}


TRAVELERS = ("T1", "T2")
PAIRED = {"mispel": {"mode": "sites", "travelers": list(TRAVELERS)}}
"""Methods that learn from travelers: options with which they run."""

METHODS = [n for n in methods().names() if methods().get(n).card.data != "table"]
BATTERY = [
    pytest.param(name, options, id=f"{name}-{variant}")
    for name in METHODS
    for variant, options in VARIANTS.get(name, {"default": PAIRED.get(name, {})}).items()
    if "to" not in options
]
BATCHES = {"b0": 6, "b1": 5, "b2": 7}
APART = {b: b for b in BATCHES}


CONTRASTS = {"T1w": (25.0, 65.0, 100.0), "T2w": (100.0, 62.0, 45.0)}
"""CSF, GM, WM."""


def brain(
    rng: np.random.Generator, *, age: float, gain: float, shift: float, contrast: str = "T1w"
) -> tuple[np.ndarray, np.ndarray]:
    """One scan, (x, y, z): a rim of CSF, GM, WM, and a ventricle that grows with age."""
    csf, gm, wm = CONTRASTS[contrast]
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    radius = np.sqrt(
        (x[:, None, None] / 0.86) ** 2 + (y[None, :, None] / 0.9) ** 2 + (z[None, None] / 0.84) ** 2
    )
    radius = radius * (1 + 0.04 * ndimage.gaussian_filter(rng.standard_normal(SHAPE), 3) * 10)
    made = np.zeros(SHAPE)
    made[radius < 1.0] = csf
    made[radius < 0.84] = gm
    made[radius < 0.66] = wm
    made[radius < 0.14 + 0.0012 * age] = csf
    inside = radius < 1.0
    noise = rng.normal(0, 2.0, SHAPE)
    return np.where(inside, gain * made + shift + noise, np.abs(noise)), inside


def write_brains(
    folder: Path,
    *,
    batches: Mapping[str, int],
    seed: int = 0,
    dtype: type = np.float64,
    contrasts: Sequence[str] = ("T1w",),
    travelers: Sequence[str] = (),
) -> Path:
    """A BIDS folder with people of several scanners; travelers have a session on each."""
    rng = np.random.default_rng(seed)
    lines = ["participant_id\tage\tsex\tscanner"]
    for k, (batch, n) in enumerate(sorted(batches.items())):
        for i in range(n):
            name, age = f"sub-{batch}{i:02d}", 20 + 60 * rng.random()
            lines.append(f"{name}\t{age:.2f}\t{'FM'[i % 2]}\t{batch}")
            # Where some have sessions, everybody has.
            visit = f"{name}_ses-1" if travelers else name
            anat = folder / visit.replace("_", "/") / "anat"
            anat.mkdir(parents=True)
            header = nib.Nifti1Header()
            header.set_data_dtype(dtype)
            looks = {"age": age, "gain": 1.0 + 0.35 * k, "shift": 6.0 * k}
            state = rng.bit_generator.state
            for contrast in contrasts:
                rng.bit_generator.state = state  # the same anatomy
                data, inside = brain(rng, contrast=contrast, **looks)
                made = nib.Nifti1Image(data.astype(dtype), AFFINE, header)
                nib.save(made, anat / f"{visit}_{contrast}.nii.gz")
            mask = nib.Nifti1Image(inside.astype(np.uint8), AFFINE)
            nib.save(mask, anat / f"{visit}_desc-brain_mask.nii.gz")
    for key in travelers:
        lines.append(f"sub-{key}\t50\tF\tn/a")
        _write_traveler(folder, f"sub-{key}", sorted(batches), dtype)
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")
    if travelers:
        rows = [f"{key}\tsub-{key}\tyes" for key in travelers]
        header = "traveler_id\tparticipant_id\tconsent"
        (folder / "travelers.tsv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def _write_traveler(folder: Path, name: str, batches: Sequence[str], dtype: type) -> None:
    """One person's T1w on every scanner, a session each."""
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    (folder / name).mkdir(parents=True, exist_ok=True)
    rows = ["session_id\tscanner"]
    for batch in batches:
        k = int(batch.strip("abcdefghijklmnopqrstuvwxyz") or 9)
        rng = np.random.default_rng(sum(name.encode()))  # the same anatomy
        data, inside = brain(rng, age=50, gain=1.0 + 0.35 * k, shift=6.0 * k)
        anat = folder / name / f"ses-{batch}" / "anat"
        anat.mkdir(parents=True)
        stem = f"{name}_ses-{batch}"
        nib.save(nib.Nifti1Image(data.astype(dtype), AFFINE, header), anat / f"{stem}_T1w.nii.gz")
        mask = nib.Nifti1Image(inside.astype(np.uint8), AFFINE)
        nib.save(mask, anat / f"{stem}_desc-brain_mask.nii.gz")
        rows.append(f"ses-{batch}\t{batch}")
    (folder / name / f"{name}_sessions.tsv").write_text("\n".join(rows) + "\n")


def written(folder: Path, method: str, **options: Any) -> Path:
    """A folder as the method needs it: with travelers, or with two contrasts of everybody."""
    if method in PAIRED:
        return write_brains(folder, travelers=TRAVELERS, **options)
    return write_brains(folder, contrasts=("T1w", "T2w"), **options)


def study_of(method: str, options: Mapping[str, Any], **evaluation: Any) -> Study:
    registered = methods().get(method).card.data == "registered images"
    paired = PAIRED.get(method, {}) if not options else {}
    params = {**({"registered": True} if registered else {}), **paired, **options}
    asked = {"metrics": "none", **evaluation}
    plain = Privacy(secure_sum=False)
    trained = issubclass(methods().get(method).params_type, TrainedParams)
    return Study(
        study="brains",
        method=method,
        params=params,
        # Exact mode is the same for all sites; MISPEL exchanges no gradient and knows no mode.
        train={"preset": "tiny", **({} if method in PAIRED else {"mode": "exact"})}
        if trained
        else {},
        evaluation=asked,
        seed=3,
        privacy=plain,
    )


def opened(folder: Path, study: Study) -> Images:
    images = open_site(folder, site="all", params=parse_params(study))
    assert isinstance(images, Images)
    return images


def sites(images: Images, site_of: Mapping[str, str]) -> dict[str, Table]:
    """The people by site, where each batch lies at one; a batch alone is called as its site."""
    found = {}
    for site in sorted(set(site_of.values())):
        mine = np.array([site_of[str(b)] == site for b in images.batch])
        found[site] = images.where(mine).as_site(site)
    return found


def run(
    study: Study, tables: Mapping[str, Table], **how: Any
) -> tuple[Result, dict[str, np.ndarray]]:
    """A study over these sites, run as `how` says; the harmonized image of every person."""
    volumes: dict[str, np.ndarray] = {}

    class Keep:
        def __init__(self, table: Table) -> None:
            self.table = table

        def write(self, rows: Any, block: np.ndarray) -> None:
            for row, volume in zip(np.arange(len(self.table))[rows], block, strict=True):
                assert volume.dtype.kind == "f"
                volumes[self.table.who(int(row))] = np.array(volume)

    @contextmanager
    def sink(table: Table, about: Any) -> Iterator[Keep]:
        yield Keep(table)

    result = run_sites(study, tables, sink_of=lambda site: sink, **how)
    return result, volumes

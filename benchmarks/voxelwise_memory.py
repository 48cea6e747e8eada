"""Peak memory and time of voxelwise ComBat: 60 people of 1.9 million voxels at three sites.

    python benchmarks/voxelwise_memory.py [--people 60] [--metrics none|full] [--keep FOLDER]

The images are noise on the 1 mm MNI grid, written as int16 NIfTI; the study runs as a user runs it,
in a process of its own, whose peak resident memory is read when it ends.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml

SHAPE = (182, 218, 182)
SITES = ("ash", "birch", "cedar")


def write(folder: Path, people: int, metrics: str) -> Path:
    """The consortium and its study file."""
    rng = np.random.default_rng(0)
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    radius = (
        (x[:, None, None] / 0.8) ** 2 + (y[None, :, None] / 0.83) ** 2 + (z[None, None] / 0.76) ** 2
    )
    mask = radius < 1
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    base = np.where(radius < 0.6, 900, 500).astype(np.int16)
    for k, site in enumerate(SITES):
        lines = ["participant_id\tage"]
        for i in range(people // len(SITES)):
            name = f"sub-{site}{i:02d}"
            lines.append(f"{name}\t{20 + 60 * rng.random():.1f}")
            anat = folder / site / name / "anat"
            anat.mkdir(parents=True)
            noise = rng.integers(-60, 60, SHAPE, dtype=np.int16)
            data = np.where(mask, base + noise + 40 * k, 0).astype(np.int16)
            stem = f"{name}_space-MNI152NLin6Asym"
            nib.save(nib.Nifti1Image(data, affine), anat / f"{stem}_T1w.nii")
            nib.save(
                nib.Nifti1Image(mask.astype(np.uint8), affine), anat / f"{stem}_desc-brain_mask.nii"
            )
        (folder / site / "participants.tsv").write_text("\n".join(lines) + "\n")
    study = folder / "study.yaml"
    document = {
        "study": "voxels",
        "method": "voxelwise_combat",
        "params": {"covariates": ["age"]},
        "sites": {site: site for site in SITES},
        "evaluation": {"metrics": metrics, "held_out": 0.2, "permutations": 20},
    }
    study.write_text(yaml.safe_dump(document))
    print(f"{int(mask.sum()):,} voxels within the mask, {people} people")
    return study


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--metrics", choices=("none", "summed", "full"), default="none")
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        study = folder / "study.yaml"
        if not study.exists():
            study = write(folder, asked.people, asked.metrics)
        began = time.perf_counter()
        words = ["simulate", str(study), "--out", str(Path(scratch) / "out"), "--reports", "later"]
        subprocess.run([sys.executable, "-m", "motet", *words], check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"{time.perf_counter() - began:.0f} s, peak {peak:.2f} GiB (asked: < 3 GB)")
        if peak > 3e9 / 2**30:
            sys.exit("more memory than asked")


if __name__ == "__main__":
    main()

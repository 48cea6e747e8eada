"""Real heads and slabs, split into sites by a stated rule, harmonized and reported.

    python benchmarks/real_images.py DATA OUT [--methods nyul,white_stripe,...]

DATA is a folder with ``ixi_hh10_2mm/`` (ten T1w heads at 2 mm with region labels, IXI,
CC BY-SA 3.0) and ``jlf60_t1_slabs.npz`` (60 T1w slabs with tissue labels, GPL-2). Nothing of it is
copied here.

The rule: people in the order of their names go to the sites in turn. All heads are of one scanner,
so the second site's are shown by a scanner of our own, ``(intensity / largest) ** 1.4``: a site
effect that is known, on real anatomy. Slabs go to three sites, with exponents 1, 0.7 and 1.4.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import yaml

CURVES = {"ash": 1.0, "birch": 1.4, "cedar": 0.7}


def shown(data: np.ndarray, site: str) -> np.ndarray:
    """The site's own scanner."""
    largest = float(data.max())
    return (largest * (data / largest) ** CURVES[site]).astype(np.float32)


def add(folder: Path, name: str, data: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> None:
    anat = folder / name / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), anat / f"{name}_T1w.nii.gz")
    nib.save(
        nib.Nifti1Image(mask.astype(np.uint8), affine), anat / f"{name}_desc-brain_mask.nii.gz"
    )


def heads(data: Path, out: Path) -> list[str]:
    """Ten heads at two sites."""
    source, sites = data / "ixi_hh10_2mm", ["ash", "birch"]
    with (source / "IXI_demog_n10.csv").open() as stream:
        people = sorted(csv.DictReader(stream), key=lambda row: row["MRID"])
    lines: dict[str, list[str]] = {site: ["participant_id\tage\tsex"] for site in sites}
    for number, row in enumerate(people):
        site, name = sites[number % 2], "sub-" + row["MRID"].replace("-", "")
        image = nib.load(source / f"{row['MRID']}-T1_ds.nii.gz")
        labels = nib.load(source / f"{row['MRID']}-T1_ds_DLMUSE.nii.gz")
        mask = np.asarray(labels.dataobj) > 0
        add(out / site, name, shown(image.get_fdata(), site), mask, image.affine)
        lines[site].append(f"{name}\t{row['Age']}\t{row['Sex']}")
    for site in sites:
        (out / site / "participants.tsv").write_text("\n".join(lines[site]) + "\n")
    return sites


def slabs(data: Path, out: Path) -> list[str]:
    """Sixty slabs on one grid at three sites."""
    sites = ["ash", "birch", "cedar"]
    lines: dict[str, list[str]] = {site: ["participant_id"] for site in sites}
    with np.load(data / "jlf60_t1_slabs.npz") as stored:
        images, labels, affine = stored["t1"], stored["seg"], stored["affine"]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        site, name = sites[number % 3], f"sub-{number + 1:02d}"
        add(out / site, name, shown(image.astype(float), site), label > 0, affine)
        lines[site].append(name)
    for site in sites:
        (out / site / "participants.tsv").write_text("\n".join(lines[site]) + "\n")
    return sites


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", default="white_stripe,nyul,mica")
    parser.add_argument("--of", choices=("heads", "slabs", "both"), default="both")
    asked = parser.parse_args()
    makers = {"heads": heads, "slabs": slabs}
    for kind in makers if asked.of == "both" else (asked.of,):
        folder = asked.out / kind
        sites = makers[kind](asked.data, folder)
        biology = ["age", "sex"] if kind == "heads" else []
        for method in asked.methods.split(","):
            study = folder / f"{method}.yaml"
            document = {
                "study": f"{kind}-{method.replace('_', '-')}",
                "method": method,
                "sites": {site: site for site in sites},
                "evaluation": {"biology": biology, "permutations": 20},
            }
            study.write_text(yaml.safe_dump(document))
            words = ["simulate", str(study), "--out", str(folder / f"out-{method}")]
            subprocess.run([sys.executable, "-m", "motet", *words], check=True)


if __name__ == "__main__":
    main()

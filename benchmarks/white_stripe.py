"""The mode of white matter beside its truth, and beside intensity-normalization 3.0.1.

    python benchmarks/white_stripe.py [--peer PYTHON] [--seeds 1,2] [--ages 40] [--resolutions 1,2]

Phantoms of the MNI152 template (``monotone``: no bias field), four scanners a seed. The error is a
share of the distance from WM to CSF. The truth is the mean, without noise, of voxels that are white
matter alone in what the scanner sees: after its point spread. ``before spread`` takes the voxels
that are white matter alone in the anatomy; at 1 mm the spread mixes neighbours into half of them.
PYTHON is the interpreter of an environment with intensity-normalization, which is no dependency of
the project.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from motet.harmonizers._images.white_stripe import white_matter_mode
from motet.images.images import Image
from motet.images.volume import Grid, Volume
from motet.phantom.anatomy import coarser, person, template
from motet.phantom.scanner import scan, scanner, texture, truth

SITES = ("ash", "birch", "cedar", "dogwood")
PEER = """
import sys, numpy as np
from intensity_normalization.domain.models import Modality
from intensity_normalization.normalizers.individual.whitestripe import WhiteStripeNormalizer
with np.load(sys.argv[1]) as stored:
    kinds = {"T1w": Modality.T1, "T2w": Modality.T2, "FLAIR": Modality.FLAIR}
    kind = kinds[str(stored["contrast"])]
    print(WhiteStripeNormalizer(modality=kind)._get_tissue_mode(stored["brain"]))
"""


def image_of(data: np.ndarray, mask: np.ndarray) -> Image:
    grid = Grid(shape=data.shape, affine=np.eye(4))
    return Image(
        volume=Volume(data=data, grid=grid, header=nib.Nifti1Header(), file=Path("phantom")),
        mask=mask,
    )


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def peer_mode(python: Path, image: Image, contrast: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "brain.npz"
        np.savez(file, brain=image.brain, contrast=contrast)
        asked = [python, "-c", PEER, file]
        return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--seeds", type=numbers, default=[1])
    parser.add_argument("--ages", type=numbers, default=[40])
    parser.add_argument("--resolutions", type=numbers, default=[1, 2])
    asked = parser.parse_args()
    fine, rows = template(1), []
    for seed, age, resolution in product(asked.seeds, asked.ages, asked.resolutions):
        base = coarser(fine, resolution) if resolution > 1 else fine
        for site in SITES:
            who = person(base, seed=seed, name=f"sub-{site}", age=age)
            own = texture(who, seed=seed, name=f"sub-{site}")
            for contrast in ("T1w", "T2w", "FLAIR"):
                by = scanner(site, contrast, "monotone", seed=seed, shape=who.inside.shape)
                true = truth(who, own, by, contrast=contrast)
                seen = scan(true, by, seed=seed, name=f"sub-{site}", contrast=contrast)
                fluid = float(true[who.fractions[0] > 0.99].mean())
                spread = ndimage.gaussian_filter(who.fractions[2], by.blur / resolution)
                image = image_of(seen, who.inside)
                mode = white_matter_mode(image, contrast)
                found = [("Motet", mode, spread), ("Motet, before spread", mode, who.fractions[2])]
                if asked.peer:
                    other = peer_mode(asked.peer, image, contrast)
                    found.append(("intensity-normalization", other, spread))
                for what, mode, share in found:
                    white = float(true[share > 0.99].mean())
                    error = 100 * (mode - white) / abs(white - fluid)
                    rows.append((contrast, resolution, what, seed, age, site, error))
    columns = ["contrast", "mm", "by", "seed", "age", "site", "error %"]
    frame = pd.DataFrame(rows, columns=columns)
    index = ["contrast", "mm", "by"]
    if len(asked.seeds) * len(asked.ages) == 1:
        table = frame.pivot_table(index=index, columns="site", values="error %")
        print(table.round(2).to_string())
    errors = frame.groupby(index)["error %"]
    worst = errors.apply(lambda e: e.abs().max())
    beyond = errors.apply(lambda e: int((e.abs() > 0.5).sum()))
    summary = {"n": errors.size(), "mean": errors.mean(), "sd": errors.std(), "largest": worst}
    print(pd.DataFrame({**summary, "beyond 0.5 %": beyond}).round(2).to_string())


if __name__ == "__main__":
    main()

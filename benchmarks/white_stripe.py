"""The mode of white matter beside its truth, and beside intensity-normalization 3.0.1.

    python benchmarks/white_stripe.py [--peer PYTHON]

Phantoms of the MNI152 template (``monotone``: no bias field, white matter has one intensity),
four scanners, 1 and 2 mm. The error is a share of the distance from WM to CSF. PYTHON is the
interpreter of an environment with intensity-normalization, which is no dependency of the project.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path)
    asked = parser.parse_args()
    fine, rows = template(1), []
    for resolution in (1, 2):
        base = coarser(fine, resolution) if resolution > 1 else fine
        for site in SITES:
            who = person(base, seed=1, name=f"sub-{site}", age=40)
            own = texture(who, seed=1, name=f"sub-{site}")
            for contrast in ("T1w", "T2w", "FLAIR"):
                by = scanner(site, contrast, "monotone", seed=1, shape=who.inside.shape)
                true = truth(who, own, by, contrast=contrast)
                seen = scan(true, by, seed=1, name=f"sub-{site}", contrast=contrast)
                white, fluid = (float(true[who.fractions[t] > 0.99].mean()) for t in (2, 0))
                image = image_of(seen, who.inside)
                modes = {"Motet": white_matter_mode(image, contrast)}
                if asked.peer:
                    with tempfile.TemporaryDirectory() as folder:
                        file = Path(folder) / "brain.npz"
                        np.savez(file, brain=image.brain, contrast=contrast)
                        found = subprocess.run(
                            [asked.peer, "-c", PEER, file],
                            check=True,
                            capture_output=True,
                            text=True,
                        )
                        modes["intensity-normalization"] = float(found.stdout)
                for what, mode in modes.items():
                    error = 100 * (mode - white) / abs(white - fluid)
                    rows.append((contrast, resolution, what, site, error))
    frame = pd.DataFrame(rows, columns=["contrast", "mm", "by", "site", "error %"])
    table = frame.pivot_table(index=["contrast", "mm", "by"], columns="site", values="error %")
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()

"""Every image method and control on a consortium with known truth, in one table.

    python benchmarks/image_methods.py OUT [--people 8] [--resolution 3] [--methods a,b]

Both variants of ``motet phantom``: four sites, two travelers, three of each site's people held out.
Each method is run as a user runs it (``motet simulate``), and the figures are those of
``metrics.json``, of people whom the fit did not see, and of travelers, whom it did:

* ``ssim`` (3-D), ``psnr``, ``mae``, ``dice``, ``wasserstein`` (means over CSF, GM and WM): to the
  truth of the same person under the first site's scanner, after ONE line for all people that
  brings a method's units to the truth's.
* ``travelers``: 3-D SSIM between the scans of one person at two sites.
* ``slices``, ``distributions``, ``measures``: balanced accuracy of telling the site, by probes
  retrained on the harmonized images (chance 0.25).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

METHODS: dict[str, dict] = {
    "n4 alone": {"method": "z_score", "n4": True},
    "white_stripe": {},
    "z_score": {},
    "nyul": {},
    "mica": {},
    "mica, travelers": {"to": "ash", "travelers": ["sub-traveler01", "sub-traveler02"]},
    "global_scaling": {"registered": True},
    "functional_normalization": {"registered": True, "coverage": 0.9, "control_share": 0.7},
    "ravel": {"registered": True, "coverage": 0.9, "control_share": 0.7},
    "voxelwise_combat": {"registered": True, "coverage": 0.9, "covariates": ["age", "sex"]},
    "histogram_matching": {},
    "blur": {},
}
SEED, HELD_OUT = 55, 0.35
"""With eight people a site: three of each are held out, and no traveler."""

TISSUES = ("csf", "gm", "wm")
COLUMNS = {
    "ssim": ("image_ssim_to_truth",),
    "psnr": ("image_psnr_to_truth",),
    "mae": ("image_mae_to_truth",),
    "dice": tuple(f"image_dice_{t}_to_truth" for t in TISSUES),
    "wasserstein": tuple(f"image_wasserstein_{t}_to_truth" for t in TISSUES),
    "travelers": ("image_ssim_travelers",),
    "slices": ("site_accuracy_slices",),
    "distributions": ("site_accuracy_distributions",),
    "measures": ("site_accuracy_random_forest",),
}


def motet(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "motet", *words], check=True, stdout=subprocess.DEVNULL)


def simulate(phantom: Path, out: Path, method: str, options: dict) -> dict[str, dict]:
    """Run a method; its metrics by name."""
    if not (out / "metrics.json").exists():
        study = yaml.safe_load((phantom / "study.yaml").read_text())
        params = {"contrast": "T1w", **options}
        study["study"] = out.name
        study["method"] = params.pop("method", method.split(",")[0])
        study["params"] = params
        study["sites"] = {name: str(phantom / folder) for name, folder in study["sites"].items()}
        study["seed"], study["evaluation"]["held_out"] = SEED, HELD_OUT
        study["evaluation"]["truth"] = str(phantom / study["evaluation"]["truth"])
        # The covariates of a method are shuffled anew for each control: a run of its own.
        study["evaluation"]["biology"] = [] if "covariates" in params else ["age", "sex"]
        file = out.with_suffix(".yaml")
        file.write_text(yaml.safe_dump(study))
        motet("simulate", str(file), "--out", str(out), "--reports", "later")
    judged = json.loads((out / "metrics.json").read_text())["judgements"]["simulation"]
    return {metric["name"]: metric["readings"] for metric in judged["metrics"]}


def row(metrics: dict[str, dict], version: str) -> dict[str, float]:
    """What the table says of one version."""
    return {
        column: float(np.mean([metrics[name][version]["value"] for name in names]))
        for column, names in COLUMNS.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--travelers", type=int, default=2)
    parser.add_argument("--resolution", type=int, default=3)
    parser.add_argument("--bend", type=float, default=4.0, help="mm; 0.5: as registered")
    parser.add_argument("--methods", default=",".join(METHODS))
    asked = parser.parse_args()
    wanted = [word.strip() for word in asked.methods.split(",")]
    for effect in ("monotone", "tissue"):
        phantom = asked.out / effect
        if not phantom.exists():
            words = ["phantom", "--out", str(phantom), "--effect", effect, "--sites", "4"]
            words += ["--people", str(asked.people), "--travelers", str(asked.travelers)]
            words += ["--resolution", str(asked.resolution), "--bend", str(asked.bend)]
            motet(*words)
        rows = {}
        for method, options in METHODS.items():
            if method.split(",")[0] not in wanted:
                continue
            out = asked.out / f"{effect}-{method.replace(', ', '-').replace(' ', '-')}"
            metrics = simulate(phantom, out, method, options)
            if method == "n4 alone":
                rows[method] = row(metrics, "raw")
            else:
                rows.setdefault("raw", row(metrics, "raw"))
                rows[method] = row(metrics, "harmonized")
            print(effect, method, {k: round(v, 3) for k, v in rows[method].items()}, flush=True)
        table = pd.DataFrame(rows).T
        table.to_csv(asked.out / f"{effect}.csv")
        print(f"\n{effect}\n{table.round(3).to_string()}\n", flush=True)


if __name__ == "__main__":
    main()

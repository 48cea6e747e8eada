"""Every image method and control on a consortium with known truth, in one table.

    python benchmarks/image_methods.py OUT [--people 6] [--resolution 2] [--methods a,b]

Both variants of ``motet phantom`` (four sites, travelers, a third of the people held out). Each
method is run as a user runs it (``motet simulate``); the table is of held-out people and of the
travelers:

* ``ssim``, ``psnr``, ``mae``, ``dice``: to the truth of the same person under the first site's
  scanner, people of the other sites. Methods end in units of their own, so the result of each is
  first brought to the truth's by ONE line, the same for all people and sites, fitted on people of
  the fit: no method gains by it what it did not do.
* ``travelers``: 3-D SSIM between the scans of one person at two sites, the mean over pairs.
* ``site``: balanced accuracy of a random forest retrained on the harmonized measures (chance 0.25),
  and of a linear machine on downsampled slices.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from motet.bids.checks import Place
from motet.images.fidelity import Fidelity, fidelity
from motet.images.mask import mask_of
from motet.images.volume import read_volume

METHODS: dict[str, dict] = {
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
CONTRAST = "T1w"
SEED, HELD_OUT = 20, 0.3
"""With six people a site: two of each are held out, and no traveler."""

TARGET = "ash"


def read(file: Path) -> np.ndarray:
    return read_volume(file, place=Place(file=file)).data.astype(np.float64)


class Scan:
    """One scan: as measured, its mask, and the truth under the target's scanner."""

    def __init__(self, phantom: Path, site: str, person: str) -> None:
        self.site, self.person = site, person
        anat = phantom / site / person / "anat"
        volume = read_volume(anat / f"{person}_{CONTRAST}.nii.gz", place=Place(site=site))
        self.raw = volume.data.astype(np.float64)
        file = anat / f"{person}_desc-brain_mask.nii.gz"
        self.mask = mask_of(volume, file, place=Place(site=site)).inside
        self.truth = read(
            phantom / "truth" / TARGET / person / "anat" / f"{person}_{CONTRAST}.nii.gz"
        )

    def made(self, out: Path | None) -> np.ndarray:
        if out is None:
            return self.raw
        anat = out / "sites" / self.site / "harmonized" / self.person / "anat"
        (file,) = anat.glob(f"{self.person}_desc-*_{CONTRAST}.nii.gz")
        return read(file)


def simulate(phantom: Path, out: Path, method: str, options: dict, sites: list[str]) -> dict:
    """Run a method; the metrics of the study."""
    if not (out / "metrics.json").exists():
        study = out.with_suffix(".yaml")
        document = {
            "study": out.name,
            "method": method.split(",")[0],
            "params": {"contrast": CONTRAST, **options},
            "sites": {site: str(phantom / site) for site in sites},
            "evaluation": {"held_out": HELD_OUT, "biology": ["age", "sex"], "permutations": 20},
            "seed": SEED,
        }
        if "covariates" in options:
            document["evaluation"]["biology"] = []
        study.write_text(yaml.safe_dump(document))
        words = ["simulate", str(study), "--out", str(out), "--reports", "later"]
        subprocess.run(
            [sys.executable, "-m", "motet", *words], check=True, stdout=subprocess.DEVNULL
        )
    return json.loads((out / "metrics.json").read_text())


def line(scans: list[Scan], out: Path | None) -> tuple[float, float]:
    """The one line from a method's units to the truth's, over brains of people of the fit."""
    x = np.concatenate([s.made(out)[s.mask][::7] for s in scans])
    y = np.concatenate([s.truth[s.mask][::7] for s in scans])
    slope, shift = np.polyfit(x, y, 1)
    return float(slope), float(shift)


def on_slices(scans: list[Scan], fit: set[str], out: Path | None) -> float:
    """Balanced accuracy of a linear machine that sees downsampled middle slices."""
    rows = []
    for scan in scans:
        data = np.where(scan.mask, scan.made(out), 0.0)
        rows.append(
            np.concatenate(
                [np.take(data, data.shape[k] // 2, axis=k)[::5, ::5].ravel() for k in range(3)]
            )
        )
    X, y = np.stack(rows), np.array([scan.site for scan in scans])
    train = np.array([scan.person in fit for scan in scans])
    probe = make_pipeline(StandardScaler(), LinearSVC(C=0.01, max_iter=5000))
    probe.fit(X[train], y[train])
    return float(balanced_accuracy_score(y[~train], probe.predict(X[~train])))


def row(scans: list[Scan], fit: set[str], out: Path | None, span: float) -> dict[str, float]:
    """What the table says of one method."""
    slope, shift = line([s for s in scans if s.person in fit], out)
    held = [s for s in scans if s.person not in fit and s.site != TARGET]
    found: list[Fidelity] = [
        fidelity(slope * s.made(out) + shift, s.truth, s.mask, data_range=span, contrast=CONTRAST)
        for s in held
    ]
    pairs = []
    for one, other in itertools.combinations([s for s in scans if "traveler" in s.person], 2):
        if one.person == other.person:
            a, b = (slope * s.made(out) + shift for s in (one, other))
            pairs.append(fidelity(a, b, one.mask, data_range=span, contrast=CONTRAST).ssim)
    return {
        "ssim": float(np.mean([f.ssim for f in found])),
        "psnr": float(np.mean([f.psnr for f in found])),
        "mae": float(np.mean([f.mae for f in found])),
        "dice": float(np.mean([np.mean(list(f.dice.values())) for f in found])),
        "travelers": float(np.mean(pairs)),
        "slices": on_slices(scans, fit, out),
    }


def accuracy(metrics: dict, version: str) -> float:
    for metric in metrics["judgements"].get("simulation", {}).get("metrics", ()):
        if metric["name"] == "site_accuracy_random_forest":
            return float(metric["readings"][version]["value"])
    return float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--travelers", type=int, default=2)
    parser.add_argument("--resolution", type=int, default=2)
    parser.add_argument("--bend", type=float, default=4.0, help="mm; 0.5: as registered")
    parser.add_argument("--methods", default=",".join(m for m in METHODS if "," not in m))
    asked = parser.parse_args()
    wanted = asked.methods.split(",")
    for effect in ("monotone", "tissue"):
        phantom = asked.out / effect
        if not phantom.exists():
            words = ["phantom", "--out", str(phantom), "--effect", effect, "--sites", "4"]
            words += ["--people", str(asked.people), "--travelers", str(asked.travelers)]
            words += ["--resolution", str(asked.resolution), "--contrasts", CONTRAST]
            words += ["--bend", str(asked.bend)]
            subprocess.run([sys.executable, "-m", "motet", *words], check=True)
        sites = sorted(p.name for p in phantom.iterdir() if (p / "participants.tsv").is_file())
        scans = [
            Scan(phantom, site, person)
            for site in sites
            for person in pd.read_csv(phantom / site / "participants.tsv", sep="\t").participant_id
        ]
        span = float(np.quantile(np.concatenate([s.truth[s.mask][::11] for s in scans]), 0.999))
        rows = {}
        for method, options in METHODS.items():
            if method.split(",")[0] not in wanted:
                continue
            out = asked.out / f"{effect}-{method.replace(', ', '-')}"
            metrics = simulate(phantom, out, method, options, sites)
            used = [pd.read_csv(out / "sites" / site / "cohort.tsv", sep="\t") for site in sites]
            people = pd.concat(used)
            fit = set(people.participant_id[people.used == "fit"])
            if "raw" not in rows:
                rows["raw"] = row(scans, fit, None, span) | {"measures": accuracy(metrics, "raw")}
            rows[method] = row(scans, fit, out, span) | {
                "measures": accuracy(metrics, "harmonized")
            }
            print(effect, method, {k: round(v, 3) for k, v in rows[method].items()}, flush=True)
        table = pd.DataFrame(rows).T
        table.to_csv(asked.out / f"{effect}.csv")
        print(f"\n{effect}\n{table.round(3).to_string()}\n", flush=True)


if __name__ == "__main__":
    main()

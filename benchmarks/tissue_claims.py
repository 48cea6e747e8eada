"""Whether methods keep tissues where their cards claim it, on a consortium with known truth.

    python benchmarks/tissue_claims.py OUT [--people 8] [--resolution 3] [--methods a,b]

The phantom of ``image_methods.py`` (four sites, two travelers, three of each site's people held
out) in four conditions: scanners that differ by a monotone curve or by tissue, people as they are
(bent by 4 mm) or as registered (by 0.5 mm). Methods are fitted on the others; of everybody held
out it is asked how near the tissues of the image are to those of the truth (Dice of the one
k-means, mean over CSF, GM and WM) before and after. The difference is that of the same person, its
interval a bootstrap over people.

The margin is what a second scan of the same person by the same scanner changes: the mean absolute
difference of Dice to the truth. What lies below that is invisible in any one person.

* ``kept``: the interval lies above minus the margin.
* ``lowered``: it lies below zero, and reaches below minus the margin.
* ``undecided``: it holds zero and reaches below minus the margin: judge more people.

Exit status 1 where a method claims to keep what it lowers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from image_methods import HELD_OUT, METHODS, SEED

from motet.client.opening import open_site
from motet.cohort import in_fit
from motet.config import Study
from motet.images.images import Images
from motet.images.tissues import order_of, overlap, segment
from motet.params import parse_params
from motet.phantom.anatomy import template
from motet.phantom.consortium import UNITS, Consortium
from motet.phantom.scanner import scan
from motet.registry import methods
from motet.simulation import run_sites

CONTRAST = "T1w"
BENDS = {False: 4.0, True: 0.5}
DRAWS = 4000


def dice(brain: np.ndarray, true: np.ndarray) -> float:
    found = overlap(segment(brain), segment(true), order=order_of(CONTRAST))
    return float(np.mean(list(found.values())))


def against_labels(brain: np.ndarray, labels: np.ndarray) -> float:
    """Dice with labels 1 CSF, 2 and 4 GM, 3 WM."""
    order = order_of(CONTRAST)
    own = np.array([order.index(t) for t in ("csf", "gm", "wm", "gm")], dtype=np.uint8)[labels - 1]
    return float(np.mean(list(overlap(segment(brain), own, order=order).values())))


def read(file: Path) -> np.ndarray:
    return np.asarray(nib.as_closest_canonical(nib.load(file)).dataobj, dtype=np.float64)


class Judge:
    """Dice of the people held out, person by person as their images are made."""

    def __init__(self, folder: Path, consortium: Consortium) -> None:
        self.folder, self.consortium = folder, consortium
        self.before: dict[str, tuple[float, float]] = {}
        self.again: dict[str, float] = {}
        self.site: dict[str, str] = {}

    def true(self, site: str, person: str) -> np.ndarray:
        return read(self.folder / "truth" / site / person / f"anat/{person}_{CONTRAST}.nii.gz")

    def mask(self, site: str, person: str) -> np.ndarray:
        return read(self.folder / site / person / f"anat/{person}_desc-brain_mask.nii.gz") > 0

    def target(self, site: str, person: str) -> np.ndarray:
        return self.true(self.consortium.names[0], person)[self.mask(site, person)]

    def dice(self, site: str, person: str, brain: np.ndarray) -> tuple[float, float]:
        """With the truth's tissues, and with the labels."""
        labels = read(self.folder / "labels" / f"{person}_dseg.nii.gz")[self.mask(site, person)]
        target = self.target(site, person)
        return dice(brain, target), against_labels(brain, labels.astype(np.intp))

    def look(self, site: str, person: str) -> None:
        """The scan as it is, and a second one by the same scanner."""
        mask, target = self.mask(site, person), self.target(site, person)
        raw = read(self.folder / site / person / f"anat/{person}_{CONTRAST}.nii.gz")
        self.before[person], self.site[person] = self.dice(site, person, raw[mask]), site
        by = self.consortium.scanner(site, CONTRAST, mask.shape)
        second = scan(
            (self.true(site, person) / UNITS).astype(np.float32),
            by,
            seed=self.consortium.seed,
            name=person,
            contrast=CONTRAST,
            visit=99,
        )
        self.again[person] = dice(np.rint(second * UNITS)[mask], target)

    def margin(self) -> float:
        return float(np.mean([abs(self.again[p] - self.before[p][0]) for p in self.before]))


def harmonized(
    folder: Path, sites: tuple[str, ...], method: str, params: dict[str, Any], judge: Judge
) -> Mapping[str, tuple[float, float]]:
    """Person held out -> Dice after the method."""
    study = Study.model_validate(
        {
            "study": "claims",
            "method": method,
            "params": {"contrast": CONTRAST, **params},
            "evaluation": {"metrics": "none", "held_out": HELD_OUT},
            "seed": SEED,
        }
    )
    tables = {s: open_site(folder / s, site=s, params=parse_params(study)) for s in sites}
    after: dict[str, tuple[float, float]] = {}

    class Look:
        def __init__(self, table: Images) -> None:
            self.table = table

        def write(self, rows: Any, block: np.ndarray) -> None:
            for row, volume in zip(np.arange(len(self.table))[rows], block, strict=True):
                person, site = self.table.who(int(row)), self.table.site
                if person in judge.before:
                    brain = volume[judge.mask(site, person)].astype(np.float64)
                    after[person] = judge.dice(site, person, brain)

    @contextmanager
    def sink(table: Images, about: Any) -> Iterator[Look]:
        yield Look(table)

    run_sites(study, tables, sink_of=lambda site: sink)
    return after


def interval(differences: np.ndarray, sites: np.ndarray) -> tuple[float, float]:
    """95 % of the mean over the people, drawn anew within each site."""
    rng = np.random.default_rng(SEED)
    total = np.zeros(DRAWS)
    for site in np.unique(sites):
        own = differences[sites == site]
        total += own[rng.integers(0, len(own), (DRAWS, len(own)))].sum(axis=1)
    low, high = np.quantile(total / len(differences), (0.025, 0.975))
    return float(low), float(high)


def verdict(low: float, high: float, margin: float) -> str:
    """What an interval says."""
    if low >= -margin:
        return "kept"
    return "lowered" if high < 0 else "undecided"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--resolution", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--methods", default=",".join(METHODS))
    asked = parser.parse_args()
    wanted, broken = [word.strip() for word in asked.methods.split(",")], 0
    for effect in ("monotone", "tissue"):
        for registered, bend in BENDS.items():
            consortium = Consortium(
                anatomies=[template(asked.resolution)],
                source="the MNI152 template",
                people=asked.people,
                travelers=2,
                effect=effect,
                bend=bend,
                seed=asked.seed,
            )
            folder = asked.out / f"{effect}-{bend:g}-{asked.seed}"
            if not folder.exists():
                consortium.write(folder)
            judge = Judge(folder, consortium)
            for site in consortium.names:
                people = pd.read_csv(folder / site / "participants.tsv", sep="\t").participant_id
                fit = in_fit(people.to_numpy(), held_out=HELD_OUT, seed=SEED)
                for person in people[~fit]:
                    if "traveler" not in person:
                        judge.look(site, person)
            margin, rows = judge.margin(), {}
            for name, options in METHODS.items():
                method = name.split(",")[0]
                if method not in methods().names() or method not in wanted:
                    continue
                after = harmonized(folder, consortium.names, method, options, judge)
                people = sorted(judge.before)
                moved = np.array([np.subtract(after[p], judge.before[p]) for p in people])
                sites = np.array([judge.site[p] for p in people])
                claims = (
                    methods()
                    .get(method)
                    .card.keeps_tissues(monotone=effect == "monotone", registered=registered)
                )
                low, high = interval(moved[:, 0], sites)
                said = verdict(low, high, margin)
                broken += claims and said == "lowered"
                rows[name.replace("_", " ")] = {
                    "difference": f"{moved[:, 0].mean():+.4f}",
                    "95 %": f"{low:+.4f} to {high:+.4f}",
                    "labels": f"{moved[:, 1].mean():+.4f}",
                    "claims": "yes" if claims else "-",
                    "verdict": said,
                }
            before = np.mean([truth for truth, _ in judge.before.values()])
            about = "as registered" if registered else "people as they are"
            print(
                f"\n{effect}, {about}: {len(judge.before)} people, Dice {before:.4f} before, "
                f"margin {margin:.4f}\n{pd.DataFrame(rows).T.to_string()}",
                flush=True,
            )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

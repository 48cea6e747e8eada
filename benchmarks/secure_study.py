"""A whole study with secure sums beside the same with plain ones, in one run.

``python benchmarks/secure_study.py [TABLE.csv --by site --covariates age,sex]``: how far apart
harmonized values are (in standard deviations of their feature), how much longer it takes with all
sites in one process, and how many bytes a site sends. Without a table: ten made-up hospitals with
thicknesses of 2.5 mm beside volumes of five million mm3.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import motet


def made_up(path: Path, sites: int = 10, people: int = 60, p: int = 150) -> Path:
    """A table with scanners' shifts and scales."""
    rng = np.random.default_rng(0)
    n = sites * people
    site = np.repeat(np.arange(sites), people)
    size = np.where(np.arange(p) % 2, 5e6, 2.5)
    values = 1 + 0.06 * rng.standard_normal((n, p)) * rng.uniform(0.7, 1.4, (sites, p))[site]
    values += 0.05 * rng.standard_normal((sites, p))[site]
    frame = pd.DataFrame(values * size, columns=[f"f{j}" for j in range(p)])
    frame.insert(0, "id", [f"p{i:04d}" for i in range(n)])
    frame.insert(1, "site", [f"h{k}" for k in site])
    frame.insert(2, "age", rng.uniform(20, 80, n).round(1))
    frame.insert(3, "sex", rng.choice(["F", "M"], n))
    frame.to_csv(path, index=False)
    return path


def ran(data: Path, *, secure: bool, metrics: str) -> tuple[motet.Result, float]:
    """The study, and how long it took."""
    study: dict[str, Any] = {
        "study": "secure",
        "method": "combat",
        "params": {"covariates": ["age", "sex"]},
        "sites": {folder.name: str(folder) for folder in sorted(data.iterdir())},
        "evaluation": {"metrics": metrics},
        "privacy": {"secure_sum": secure},
    }
    began = time.perf_counter()
    return motet.simulate(study), time.perf_counter() - began


def sent(result: motet.Result) -> int:
    """Bytes of arrays that the site which sends most has sent."""
    assert result.outcome is not None
    by_site: dict[str, int] = {}
    for entry in result.outcome.received:
        if entry["class"] != "schema":
            by_site[entry["site"]] = by_site.get(entry["site"], 0) + entry["bytes"]
    return max(by_site.values())


def main() -> None:
    """Measure and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--by", default="site")
    parser.add_argument("--id", default="id")
    parser.add_argument("--covariates", default="age,sex")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = asked.table or made_up(Path(folder) / "made-up.csv")
        data = Path(folder) / "data"
        words = ["split", str(table), "--by", asked.by, "--covariates", asked.covariates]
        words += ["--id", asked.id]
        command = [sys.executable, "-m", "motet", *words, "--out", str(data)]
        subprocess.run(command, check=True, capture_output=True)
        ran(data, secure=False, metrics="none")  # imports and the disk's cache
        print("| sums | values apart, sd | time | bytes a site |\n|---|---|---|---|")
        for metrics, name in (("none", "harmonization"), ("summed", "and its evaluation")):
            plain, seconds = ran(data, secure=False, metrics=metrics)
            masked, longer = ran(data, secure=True, metrics=metrics)
            apart = 0.0
            sd = np.nanstd(np.vstack(list(plain.values.values())), axis=0)
            for site, values in plain.values.items():
                difference = np.abs(masked.values[site] - values)[:, sd > 0] / sd[sd > 0]
                apart = max(apart, float(np.nanmax(difference)))
            print(
                f"| {name}, {len(plain.values)} sites x {len(sd)} features | {apart:.1e} | "
                f"{longer / seconds:.2f} x ({seconds:.2f} s plain) | "
                f"{sent(masked) / sent(plain):.3f} x ({sent(plain)} plain) |"
            )


if __name__ == "__main__":
    main()

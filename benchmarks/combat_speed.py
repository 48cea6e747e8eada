"""Motet's ComBat beside neuroCombat and neuroHarmonize: seconds and memory of fit + apply.

    python benchmarks/combat_speed.py --features 10000,100000 --people 1000 --sites 10 --repeats 3

Each measurement is a fresh process that first makes the same seeded data in memory, float64, in the
layout that the package wants, and then times one call that fits all sites and harmonizes them. The
packages take turns, so that a noisy machine disturbs all of them alike. Memory is the peak of the
process's anonymous memory during the call less that just before it: an output array counts, an
output that is memory-mapped to a file (Motet's) does not, nor does the input. 'The floor' is what
any out-of-core harmonization must do at the least: read the data once and write it once.

Ages are rounded to float32 for everybody, since neuroCombat rounds them. Environment variables that
pin an old OpenBLAS kernel are removed for all packages alike.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from combat_report import agreement, machine, markdown, missed
from peers_env import environment_for, python_for

HERE = Path(__file__).resolve().parent
PACKAGES = ("Motet", "neuroCombat", "neuroHarmonize")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--features", default="10000,100000", help="sizes, e.g. 10000,100000")
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--sites", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--interleaved", action="store_true", help="shuffle the sites' rows")
    parser.add_argument("--scratch", type=Path, help="folder for the memory-mapped outputs")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    return parser.parse_args()


def run_once(package: str, settings: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """One measurement in a fresh process; its report, or why there is none."""
    job = {
        **settings,
        "package": package,
        "scratch": str(scratch),
        "report": str(scratch / "report.json"),
        "samples": str(scratch / f"{package}.npz"),
    }
    done = subprocess.run(
        [python_for(package), HERE / "combat_worker.py", json.dumps(job)],
        env=environment_for(package),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        report: dict[str, Any] = json.loads(Path(job["report"]).read_text())
        return {k: _no_paths(v) if k == "unavailable" else v for k, v in report.items()}
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    print(done.stderr, file=sys.stderr)
    return {"failed": _no_paths(lines[-1])}


def _no_paths(message: str) -> str:
    return re.sub(r"/\S*", "...", message)


def run_size(settings: dict[str, Any], repeats: int, scratch: Path) -> dict[str, Any]:
    """All measurements of one size, the packages taking turns."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ("floor", *PACKAGES)}
    for repeat in range(repeats):
        for package, reports in runs.items():
            if reports and "seconds" not in reports[-1] and "copy_s" not in reports[-1]:
                continue
            reports.append(run_once(package, settings, scratch))
            figures = {k: v for k, v in reports[-1].items() if k != "versions"}
            print(f"{settings['features']} features, run {repeat + 1}, {package}: {figures}")
    return {
        **settings,
        "floor": {k: [run[k] for run in runs["floor"]] for k in ("read_s", "copy_s")},
        "packages": {package: gathered(runs[package]) for package in PACKAGES},
        "agreement": agreement([p for p in PACKAGES if "seconds" in runs[p][-1]], scratch),
    }


def gathered(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The reports of one package as one: lists of seconds and of bytes."""
    if "seconds" not in reports[-1]:
        return reports[-1]
    lists = {k: [run[k] for run in reports] for k in ("seconds", "anonymous_bytes")}
    return {**lists, "versions": reports[-1]["versions"]}


def main() -> int:
    options = arguments()
    results: dict[str, Any] = {"machine": machine(), "repeats": options.repeats, "sizes": []}
    for features in (int(size) for size in options.features.split(",")):
        settings = {
            "features": features,
            "people": options.people,
            "sites": options.sites,
            "seed": options.seed,
            "interleaved": options.interleaved,
        }
        with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
            results["sizes"].append(run_size(settings, options.repeats, Path(scratch)))
    table = markdown(results)
    options.results.mkdir(parents=True, exist_ok=True)
    name = "combat_speed_interleaved" if options.interleaved else "combat_speed"
    (options.results / f"{name}.json").write_text(json.dumps(results, indent=2) + "\n")
    (options.results / f"{name}.md").write_text(table)
    print(table)
    for sentence in missed(results):
        print(f"missed: {sentence}")
    return 1 if missed(results) else 0


if __name__ == "__main__":
    sys.exit(main())

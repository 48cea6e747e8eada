"""How alike local and exact mode harmonize, value by value, beside exact mode drawn again.

    python benchmarks/deepcombat_agreement.py TABLES_DIR [--only nine-sites] [--seeds 1,2,3]
                                              [--jobs 2]

Of people held out, in standard deviations of the raw features in the fit, over features that vary:

* ``apart``: root mean square of the difference from exact mode's harmonized values.
* ``alike``: what local mode changes raw values by, beside what exact mode does:
  ``1 - sum (local - exact)^2 / sum (exact - raw)^2``.

Exact mode is drawn again with other first weights, orders and samples, for the same people: what
pooled training keeps to itself. Exits with 1 where local mode is less alike than that by more than
2 %, or makes more than a fiftieth of the exchanges. Probes of what harmonized values tell are
``deepcombat_tables.py``'s; this needs none, and so has no error of theirs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from deepcombat_tables import SPLITS, Job, drawn_again, fitted, opened, parted
from numpy.typing import NDArray

Float = NDArray[np.float64]

WITHIN = 0.02
"""Share of what exact mode drawn again has by which local mode may be less alike."""
FEWER = 50
"""How many times fewer exchanges local mode makes, at least."""
EXACT, LOCAL, AGAIN = "exact", "local", "exact, drawn again"
RUNS = {
    EXACT: ("small, exact mode", 0),
    LOCAL: ("small, local mode", 0),
    AGAIN: ("small, exact mode", 1),
}
"""Of which of the tables' methods, with which draws."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One seed on one table: by name of the run."""

    table: str
    seed: int
    apart: Mapping[str, float]
    alike: Mapping[str, float]
    exchanges: Mapping[str, int]


def harmonized(job: Job) -> tuple[Float, Float, int]:
    """Raw and harmonized values of people held out, (n, p), in sd of the fit; exchanges."""
    _, plan, tables, fit = opened(job)
    made = fitted(drawn_again(plan, job.draws), tables, fit)
    raw = {name: table.block(slice(None)) for name, table in tables.items()}
    sd = np.nanstd(np.concatenate([raw[name][fit[name]] for name in tables]), axis=0)
    old, new = (
        np.concatenate([values[name][~fit[name]] for name in tables]) / np.where(sd > 0, sd, np.nan)
        for values in (raw, made["values"])
    )
    return old, new, made["exchanges"]


def compared(job: Job) -> Found:
    """Train three times, and compare with the first."""
    apart, alike, exchanges = {}, {}, {}
    for name, (method, draws) in RUNS.items():
        raw, values, exchanges[name] = harmonized(replace(job, method=method, draws=draws))
        if name == EXACT:
            exact = values
            continue
        difference = np.nanmean((values - exact) ** 2)
        apart[name] = float(np.sqrt(difference))
        alike[name] = float(1.0 - difference / np.nanmean((exact - raw) ** 2))
    return Found(table=job.table, seed=job.seed, apart=apart, alike=alike, exchanges=exchanges)


def judged(table: str, found: list[Found]) -> bool:
    """Print a table's seeds, and whether what was asked for is there."""
    print(f"\n## {table}\n\n| seed | exchanges | apart, sd | alike | drawn again: apart | alike |")
    print("|---|---|---|---|---|---|")
    for one in sorted(found, key=lambda one: one.seed):
        cells = [
            f"{one.exchanges[LOCAL]} for {one.exchanges[EXACT]}",
            *(f"{of[run]:.3f}" for run in (LOCAL, AGAIN) for of in (one.apart, one.alike)),
        ]
        print(f"| {one.seed} | {' | '.join(cells)} |")
    local, again = (float(np.mean([one.alike[run] for one in found])) for run in (LOCAL, AGAIN))
    fewer = min(one.exchanges[EXACT] / one.exchanges[LOCAL] for one in found)
    met = local >= (1 - WITHIN) * again and fewer >= FEWER
    print(f"\n{'met' if met else 'NOT MET'}: alike {local:.1%}, drawn again {again:.1%}; ", end="")
    print(f"{fewer:.0f} times fewer exchanges")
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path)
    parser.add_argument("--only", default=",".join(SPLITS))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        jobs = []
        for name in asked.only.split(","):
            data = parted(asked.tables, name, work=Path(work))
            jobs += [
                Job(table=name, method="", seed=int(seed), data=data, held_out=0.2)
                for seed in asked.seeds.split(",")
            ]
        with multiprocessing.get_context("spawn").Pool(asked.jobs) as pool:
            found = pool.map(compared, jobs, chunksize=1)
    met = [judged(name, [f for f in found if f.table == name]) for name in asked.only.split(",")]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()

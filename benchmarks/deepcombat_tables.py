"""DeepComBat on real multi-site tables: as published in one place, in local mode, beside ComBat.

    python benchmarks/deepcombat_tables.py TABLES_DIR OUT [--only nine-sites] [--seeds 1,2,3]
                                           [--jobs 2]

Sites are at hand in one process (``strategies/in_place.py``): what would travel is the same, and
nothing does. In exact mode two hospitals have all scanners: its sums, draws and judgement are the
same whoever has which (``tests/training/test_exact.py``), and it takes a fifth of the time. A fifth
of the people is held out. Of every method and seed:

* ``reconstruction``: R² of features that the networks see, standardized over the fit, of the people
  of the fit and of those held out, each decoded as of its own scanner.
* ``svm``: balanced accuracy of telling the site of held-out people, linear SVM, with the band of
  permuted labels; ``mean F``: F statistic of site beyond covariates, mean over features, held out.
* ``age``: R² of age of held-out people, ridge trained on harmonized values of the fit.
* ``invented``: share of features with p < 0.05 for a covariate that was shuffled within scanners
  before the fit (of all covariates, each shuffled once).
* ``exchanges`` and bytes a site of the training.

The tables are not part of the project: numbers only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from real_studies import STUDIES

from motet.bids.split import split_table
from motet.client.local_site import LocalSite
from motet.cohort import seen_by_fit
from motet.config import Study, parse_study
from motet.controls import shuffled
from motet.evaluation.battery import Permuted, battery
from motet.harmonizers.deepcombat.coding import Coder
from motet.plan import Plan, build_plan
from motet.releases import nbytes
from motet.sites import agreed, open_sites
from motet.strategies import strategy_for
from motet.strategies.in_place import InPlace
from motet.training.phase import Train

METHODS: dict[str, dict[str, Any]] = {
    "combat": {"method": "combat"},
    "as published, one place": {
        "method": "deepcombat",
        "train": {"preset": "paper", "mode": "exact"},
    },
    "as published, local mode": {
        "method": "deepcombat",
        "train": {"preset": "paper", "mode": "local", "local_steps": 60},
    },
    "small, exact mode": {"method": "deepcombat", "train": {"preset": "small", "mode": "exact"}},
    "small, local mode": {"method": "deepcombat", "train": {"preset": "small"}},
}
SPLITS = {
    "nine-sites": {"by": "site", "id": "participant_id", "covariates": ["age", "sex"]},
    "abide": {
        "by": "SITE_ID",
        "id": "id",
        "covariates": ["DX_GROUP", "AGE_AT_SCAN", "SEX"],
        "drop": ["SUB_ID", "FIQ"],
    },
    "fcon1000": {
        "by": "site",
        "id": "sub_id",
        "covariates": ["age", "sex"],
        "features": ["*_thickness"],
    },
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One method on one table with one seed."""

    table: str
    method: str
    seed: int
    data: Path
    held_out: float
    draws: int = 0


def study_of(job: Job) -> Study:
    sites = {path.name: str(path) for path in sorted(job.data.iterdir()) if path.is_dir()}
    return parse_study(
        {
            "study": job.table,
            "params": {"covariates": dict(STUDIES[job.table].covariates)},
            "sites": sites,
            "evaluation": {"held_out": job.held_out, "permutations": 40},
            "privacy": {"secure_sum": False},
            "seed": job.seed,
            **METHODS[job.method],
        }
    )


def fitted(plan: Plan, tables: Mapping[str, Any], fit: Mapping[str, Any]) -> dict[str, Any]:
    """The shared model and what sites harmonize with it; exchanges and bytes of the training."""
    sites = {
        name: LocalSite(name=name, schema=plan.schema, data=t.where(fit[name]), seed=plan.seed)
        for name, t in tables.items()
    }
    ask = InPlace(sites=sites, sizes=plan.schema.sizes, seed=plan.seed)
    shared: dict[str, Any] = {}
    found: dict[str, Any] = {"exchanges": 0, "bytes": 0}
    for phase in plan.steps[1:]:
        if phase.when and not len(shared[phase.when]):
            continue
        if isinstance(phase, Train):
            steps = phase.steps(phase.trained_of(int(shared[phase.counted])))
            turns = [phase.turn(n) for n in range(phase.exchanges(steps))]
            found["exchanges"], found["steps"] = len(turns), steps
            sent = [nbytes(s, plan.schema.sizes) for t in turns for s in phase.arrays(t)]
            found["bytes"] = sum(sent)
        shared |= strategy_for(phase, plan)(phase, ask, shared)
    values = {}
    for name, table in tables.items():
        model = plan.harmonizer.site_model(plan.params, sites[name], shared)
        out = np.empty((len(table), len(table.features)))
        blocks = plan.harmonizer.apply(plan.params, table, model, shared, plan.schema)
        for rows, block in blocks:
            out[rows] = block
        values[name] = out
    return {**found, "shared": shared, "values": values}


def reconstruction(plan: Plan, shared: Any, tables: Any, chosen: Mapping[str, Any]) -> float:
    """R² over people and features."""
    used = shared["used"]
    error = total = 0.0
    for name, table in tables.items():
        if not chosen[name].any():
            continue
        part = table.where(chosen[name])
        made = Coder(plan.params, plan.schema, shared).coded(part).reconstructed[:, used]
        y = part.block(slice(None))[:, used]
        error += float(np.nansum(((y - made) / shared["sd"][used]) ** 2))
        total += float(np.nansum(((y - shared["mean"][used]) / shared["sd"][used]) ** 2))
    return 1.0 - error / total


def opened(job: Job) -> tuple[Study, Plan, dict[str, Any], dict[str, Any]]:
    """The study, its plan, tables by site, and who of each is in the fit."""
    study = study_of(job)
    tables = open_sites(study)
    plan = build_plan(study, agreed(study, tables))
    fit = {n: seen_by_fit(t, held_out=job.held_out, seed=job.seed) for n, t in tables.items()}
    # A site all of whose people are held out has nothing to train on, and no model of its own.
    return study, plan, {name: table for name, table in tables.items() if fit[name].any()}, fit


def drawn_again(plan: Plan, draws: int) -> Plan:
    """With other first weights, orders and samples, for the same people."""
    return replace(plan, seed=plan.seed + 1000 * draws)


def parted(tables: Path, name: str, *, work: Path) -> Path:
    """A table, site by site."""
    split_table(tables / STUDIES[name].file, out=work / name, **SPLITS[name])
    return work / name


def of_two(tables: Path, name: str, *, work: Path) -> Path:
    """The same table as of two hospitals, one of which has all scanners but the last."""
    cells = pd.read_csv(tables / STUDIES[name].file, dtype=str, keep_default_na=False)
    given = dict(SPLITS[name])
    scanner = given.pop("by")
    last = cells[scanner] == cells[scanner].max()
    table, out = work / f"{name}-of-two.csv", work / f"{name}-of-two"
    cells.assign(hospital=np.where(last, "second", "first")).to_csv(table, index=False)
    split_table(table, out=out, by="hospital", batch=scanner, **given)
    return out


def is_exact(method: str) -> bool:
    """Whether a method is trained in exact mode."""
    return METHODS[method].get("train", {}).get("mode") == "exact"


def run(job: Job) -> dict[str, Any]:
    study, plan, tables, fit = opened(job)
    drawn = drawn_again(plan, job.draws)
    began = time.perf_counter()
    made = fitted(drawn, tables, fit)
    seconds = time.perf_counter() - began
    row: dict[str, Any] = {"table": job.table, "method": job.method}
    row |= {"seed": job.seed, "draws": job.draws, "seconds": round(seconds, 1)}
    row |= {key: made.get(key) for key in ("exchanges", "steps", "bytes")}
    if study.method == "deepcombat":
        row["r2_fit"] = reconstruction(plan, made["shared"], tables, fit)
    if not job.held_out:
        return row
    permuted = []
    for covariate in plan.schema.covariates:
        given = {n: shuffled(t, covariate.name, seed=job.seed, step=0) for n, t in tables.items()}
        changed = {
            n: replace(t, covariates=t.covariates.assign(**{covariate.name: given[n]}))
            for n, t in tables.items()
        }
        values = fitted(drawn, changed, fit)["values"]
        permuted.append(
            Permuted(column=covariate.name, shuffled=given, values={"harmonized": values})
        )
    versions = {"raw": {n: t.block(slice(None)) for n, t in tables.items()}}
    judged = battery(
        {**versions, "harmonized": made["values"]},
        tables,
        fit=fit,
        plan=plan,
        settings=study.evaluation,
        permuted=permuted,
    )
    metrics = {
        metric.name: {
            version: [reading.value, list(reading.band or ())]
            for version, reading in metric.readings.items()
        }
        for metric in judged.metrics
    }
    if study.method == "deepcombat":
        held = {name: ~rows for name, rows in fit.items()}
        row["r2_held"] = reconstruction(plan, made["shared"], tables, held)
    return {**row, "metrics": metrics}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default=",".join(SPLITS))
    parser.add_argument("--methods", default="|".join(METHODS))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument(
        "--held-out", type=float, default=0.2, help="0: nobody, reconstruction only"
    )
    parser.add_argument(
        "--draws", type=int, default=0, help="other first weights and orders, the same people"
    )
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        jobs = []
        for name in asked.only.split(","):
            data = {
                exact: way(asked.tables, name, work=Path(work))
                for exact, way in ((False, parted), (True, of_two))
            }
            jobs += [
                Job(
                    table=name,
                    method=method,
                    seed=int(seed),
                    data=data[is_exact(method)],
                    held_out=asked.held_out,
                    draws=asked.draws,
                )
                for seed in asked.seeds.split(",")
                for method in asked.methods.split("|")
            ]
        with (
            multiprocessing.get_context("spawn").Pool(asked.jobs) as pool,
            asked.out.open("w") as f,
        ):
            for row in pool.imap_unordered(run, jobs):
                f.write(json.dumps(row) + "\n")
                f.flush()
                shown = {key: value for key, value in row.items() if key != "metrics"}
                print(shown, flush=True)


if __name__ == "__main__":
    main()

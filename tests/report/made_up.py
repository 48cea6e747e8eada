"""A finished study on disk, written by hand to the documented formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from motet.bids.memory import from_arrays
from motet.bids.table import Table
from motet.evaluation.result import Judgement, Metric, Reading
from motet.ledger import Ledger
from motet.store import save_model, write_arrays, write_json

SITES = ("ash", "birch", "cédar <b>&amp;")
"""The last has an umlaut's kin, a tag and an entity in its name."""
COLUMNS = ("age", "sex=M")
VERSIONS = ("raw", "local_only", "pooled", "harmonized")
PROBES = ("linear_svm", "rbf_svm", "random_forest", "lda")
SHARES = ("anova", "kruskal", "levene", "anderson_darling")


def read(
    values: Sequence[float], *, half: float = 0.03, band: tuple[float, float] | None = None
) -> dict[str, Reading]:
    """Readings of raw, local only, pooled and harmonized."""
    return {
        version: Reading(value=value, interval=(value - half, value + half), band=band, n=54)
        for version, value in zip(VERSIONS, values, strict=True)
    }


def every_metric() -> tuple[Metric, ...]:
    """All names of the contract between evaluation and report."""
    chance, found = 1 / 3, []
    for k, probe in enumerate(PROBES):
        readings = read((0.71 + 0.04 * k, 0.55, 0.35, 0.36), band=(0.22, 0.45))
        readings["demographics"] = Reading(value=0.34, band=(0.22, 0.45), n=54)
        found.append(
            Metric(
                name=f"site_accuracy_{probe}",
                title=f"Site balanced accuracy, {probe.replace('_', ' ')}",
                aim="site_effect",
                better="chance",
                chance=chance,
                band_from="binomial" if probe == "lda" else "permutation",
                readings=readings,
            )
        )
    for test in SHARES:
        found.append(
            Metric(
                name=f"{test}_share",
                title=f"Features with p < 0.05, {test.replace('_', ' ')}",
                aim="site_effect",
                better="chance",
                chance=0.05,
                band_from="permutation",
                readings=read((0.84, 0.7, 0.04, 0.06), band=(0.0, 0.12)),
            )
        )
    plain: tuple[tuple[str, str, str, tuple[float, float, float, float]], ...] = (
        ("batch_eta2", "site_effect", "lower", (0.44, 0.3, 0.07, 0.075)),
        ("manova_pillai", "site_effect", "lower", (1.6, 1.2, 0.4, 0.41)),
        ("manova_p", "site_effect", "chance", (1e-9, 1e-6, 0.4, 0.38)),
        ("silhouette", "site_effect", "lower", (0.21, 0.1, -0.01, -0.02)),
        ("r2_age", "biology", "higher", (0.40, 0.3, 0.42, 0.416)),
        ("mae_age", "biology", "lower", (8.1, 9.0, 7.9, 7.95)),
        ("auc_sex", "biology", "higher", (0.71, 0.66, 0.72, 0.72)),
        ("covariates_r2", "biology", "raw", (0.088, 0.06, 0.09, 0.0898)),
        ("effect_kept_age", "biology", "higher", (1.0, 0.9, 0.99, 0.985)),
        ("effect_slope_age", "biology", "raw", (1.0, 0.8, 1.02, 1.01)),
        ("icc_travelers", "truth", "higher", (0.6, 0.7, 0.9, 0.89)),
        ("cv_travelers", "truth", "lower", (0.06, 0.05, 0.02, 0.021)),
        ("mae_to_truth", "truth", "lower", (0.09, 0.07, 0.018, 0.019)),
    )
    for name, aim, better, values in plain:
        found.append(
            Metric(
                name=name,
                title=name.replace("_", " "),
                aim=aim,  # type: ignore[arg-type]
                better=better,  # type: ignore[arg-type]
                readings=read(values, half=abs(values[0]) / 20),
            )
        )
    found.append(
        Metric(
            name="invented_effect_share_age",
            title="Invented effects of age",
            aim="biology",
            better="chance",
            chance=0.05,
            band_from="permutation",
            readings={"harmonized": Reading(value=0.06, band=(0.0, 0.13), n=270)},
        )
    )
    return tuple(found)


def arrays_of(p: int, *, seed: int = 3) -> dict[str, np.ndarray]:
    """One entry a feature, raw with a site effect and harmonized without; the last is NaN."""
    rng = np.random.default_rng(seed)
    effects = {column: rng.normal(-0.4, 0.25, p) for column in COLUMNS}
    found: dict[str, np.ndarray] = {}
    for version, strength in zip(VERSIONS, (0.4, 0.3, 0.05, 0.06), strict=True):
        found[f"{version}/eta2"] = rng.beta(2, 2 / strength, p)
        found[f"{version}/anova_p"] = rng.uniform(size=p) ** (1 + 40 * (strength > 0.2))
        found[f"{version}/levene_p"] = rng.uniform(size=p) ** (1 + 5 * (strength > 0.2))
        for column in COLUMNS:
            found[f"{version}/effect/{column}"] = effects[column] + rng.normal(0, 0.1 * strength, p)
    for values in found.values():
        values[-1] = np.nan
    return found


def features_of(p: int) -> list[str]:
    """Names, one of them with characters that HTML reads."""
    return [f"lh_region{j}_thickness" if j else "lh_a<i>&b_größe" for j in range(p)]


def from_sums(p: int = 40) -> Judgement:
    """A judgement of few metrics, so that a page of it takes a fraction of the time."""
    names = ("site_accuracy_lda", "anova_share", "batch_eta2")
    return Judgement(
        source="sums",
        people="held out",
        n=54,
        features=p - 1,
        metrics=tuple(m for m in every_metric() if m.name in names),
    )


SUMS_ALONE = {"judgements": {"sums": from_sums().to_json()}}
"""Of ``metrics.json``: what a deployed study has."""


def write_study(
    folder: Path, *, p: int = 40, sites: Sequence[str] = SITES, **changes: Mapping[str, Any]
) -> Path:
    """Write run.json, plan.json, metrics.json, evaluation.npz and shared/.

    `changes` replace keys of ``run``, ``plan`` or ``metrics``.
    """
    features = features_of(p)
    judged = Judgement(
        source="simulation",
        people="held out",
        n=54,
        features=p - 1,
        metrics=every_metric(),
        notes=("1 feature does not vary.",),
    )
    sums = from_sums(p)
    arrays = arrays_of(p)
    plan = {
        "hash": "8d" * 32,
        "motet": "0.1.0",
        "study": "made-up <em>study</em>",
        "method": "combat",
        "params": {
            "covariates": {"age": "auto", "sex": "auto"},
            "batch": "scanner",
            "prior": "parametric",
            "adjust": "location_scale",
            "reference": None,
            "feature_groups": {},
        },
        "target": "pooled",
        "seed": 1,
        "held_out": 0.2,
        "schema": {
            "sha256": "55" * 32,
            "features": features,
            "units": ["mm"] * p,
            "covariates": [
                {"name": "age", "kind": "continuous", "levels": []},
                {"name": "sex", "kind": "categorical", "levels": ["F", "M"]},
            ],
            "batches": [[site, "prisma"] for site in sites],
        },
        "steps": [
            {
                "name": "moments",
                "arrays": [{"name": "sum_y", "meaning": "sum of every feature", "shape": ["p"]}],
            }
        ],
        "asked": {"hash": "8d" * 32, "sites": sorted(sites)},
        **changes.get("plan", {}),
    }
    run = {
        "study": plan["study"],
        "mode": "simulation",
        "method": "combat",
        "seed": 1,
        "motet": "0.1.0",
        "versions": {"python": "3.11.9", "numpy": "2.4.6", "flwr": "1.41.0"},
        "plan": "8d" * 32,
        "model": "9f" * 32,
        "people": 216,
        "batches": [
            {"site": site, "batch": "prisma", "role": "fit", "fit": 72, "held_out": 18}
            for site in sites
        ]
        + [{"site": "dune", "batch": "dune", "role": "unseen", "fit": None, "held_out": None}],
        "missing": {"elm": "timeout"},
        "received": [entry for site in sites for entry in _received(site, p)],
        **changes.get("run", {}),
    }
    metrics = {
        "study": plan["study"],
        "plan": plan["hash"],
        "missing": {"elm": "timeout"},
        "warnings": [{"site": sites[0], "warning": "sub-SECRET1 has a strange value of 7.77"}],
        "judgements": {"sums": sums.to_json(), "simulation": judged.to_json()},
        **changes.get("metrics", {}),
    }
    write_json(folder / "run.json", run)
    write_json(folder / "plan.json", plan)
    write_json(folder / "metrics.json", metrics)
    write_arrays(
        folder / "evaluation.npz",
        {f"{source}/{name}": a for source in ("sums", "simulation") for name, a in arrays.items()},
    )
    rng = np.random.default_rng(0)
    shared = {
        "alpha": rng.normal(2.5, 0.4, p),
        "beta": rng.normal(0, 0.1, (2, p)),
        "var_pooled": rng.gamma(4, 0.01, p),
        "people": np.asarray(216),
    }
    save_model(folder / "shared", shared, {"study": "made-up"})
    return folder


def _received(site: str, p: int) -> list[dict[str, Any]]:
    plain = {"site": site, "times": 1}
    return [
        {
            **plain,
            "phase": "schema",
            "class": "schema",
            "array": "description",
            "dtype": "",
            "shape": [],
            "bytes": 900 + len(site),
        },
        {
            **plain,
            "phase": "moments",
            "class": "sum",
            "array": "sum_y",
            "dtype": "float64",
            "shape": [p],
            "bytes": 8 * p,
        },
        {
            **plain,
            "phase": "evaluate",
            "class": "sum",
            "array": "ss",
            "dtype": "float64",
            "shape": [2, p],
            "bytes": 16 * p,
            "times": 2,
        },
    ]


def site_table(site: str, *, n: int = 24, p: int = 40, name: str = "sub-SECRET") -> Table:
    """Two scanners, ages and sexes; everybody's id begins with `name`."""
    rng = np.random.default_rng(n)
    batch = np.where(np.arange(n) % 3 == 0, "ingenia", "signa")
    values = rng.normal(2.5, 0.2, (n, p)) + 0.3 * (batch == "signa")[:, None]
    values[0, 1] = np.nan
    people = pd.DataFrame({"age": rng.uniform(20, 80, n).round(1), "sex": ["F", "M"] * (n // 2)})
    return from_arrays(
        values,
        site=site,
        batch=list(batch),
        covariates=people,
        features=features_of(p),
        people=[f"{name}{i}" for i in range(n)],
    )


def harmonized_of(table: Table) -> np.ndarray:
    """The second scanner's shift taken away, and one person far out."""
    values = table.values - 0.3 * (table.batch == "signa")[:, None]
    values[2] += np.linspace(0, 3, len(table.features))
    return values


def write_site(folder: Path, site: str, *, p: int = 40) -> Path:
    """Ledger and model of a site; returns its folder."""
    place = folder / "sites" / site
    place.mkdir(parents=True, exist_ok=True)
    entries = [
        {
            "study": "made-up",
            "phase": "schema",
            "class": "schema",
            "keys": ["batches"],
            "sha256": "ab" * 32,
        },
        {
            "study": "made-up",
            "plan": "8d" * 32,
            "phase": "moments",
            "class": "sum",
            "arrays": [
                {
                    "name": "sum_y",
                    "dtype": "float64",
                    "shape": [p],
                    "bytes": 8 * p,
                    "sha256": "cd" * 32,
                }
            ],
        },
        {
            "study": "another",
            "phase": "moments",
            "class": "sum",
            "arrays": [
                {
                    "name": "not_ours",
                    "dtype": "float64",
                    "shape": [p],
                    "bytes": 8 * p,
                    "sha256": "ef" * 32,
                }
            ],
        },
    ]
    book = Ledger(place / "ledger.sqlite", site=site)
    for entry in entries:
        book.append({"kind": "release", **entry})
    rng = np.random.default_rng(4)
    model = {"gamma_star": rng.normal(0, 1, (2, p)), "delta_star": rng.gamma(9, 1 / 9, (2, p))}
    save_model(place / "model", model, {"site": site, "batches": ["ingenia", "signa"]})
    return place


ABOUT = {
    "study": "made-up",
    "method": "combat",
    "plan": "8d" * 32,
    "model": "9f" * 32,
    "motet": "0.1.0",
}

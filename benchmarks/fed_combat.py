"""Fed-ComBat on the IXI table beside ComBat: a line is ComBat, and what a network does to age.

    python benchmarks/fed_combat.py TABLES_DIR --out benchmarks/results/fed_combat.md

From Python, as a user would. A fifth of each site's people is held out, once for every seed.

* ``rms``: root mean squared difference to ComBat, people of the fit, in sd of the feature.
* ``age``: R² of age of held-out people, ridge trained on harmonized values of the fit.
* ``F``: F statistic of site beyond age, its square, and sex, mean over features, held out.
* ``exchanges``: of the training.

The table is not part of the project: numbers only.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

import motet

TABLE = "ixi_fs_desikan_thickness_3sites_n558.csv"
LOCAL = {"mode": "local", "local_steps": 20, "steps": 400}
KNOTS = motet.Spline(knots=[35, 50, 65], bounds=[20, 87])
METHODS: dict[str, dict[str, Any] | None] = {
    "raw": None,
    "combat": {"method": "combat"},
    "combat, spline of age": {"method": "combat", "covariate_types": {"age": KNOTS}},
    "fed_combat, linear": {"params": {"phi": "linear"}},
    "fed_combat, linear, local": {"params": {"phi": "linear", "train": LOCAL}},
    "fed_combat, linear, paper": {"params": {"phi": "linear", "train": {"preset": "paper"}}},
    "fed_combat, mlp": {},
    "fed_combat, mlp, local": {"params": {"train": LOCAL}},
    "fed_combat, mlp, paper": {"params": {"train": {"preset": "paper"}}},
}
EXCHANGES = {"": 100, "local": 20, "paper": 20}
SEEDS = (1, 2, 3)
NOTE = (
    "A line in exact mode is ComBat, and one exchange would do. Effects of age bend little in this "
    "table: neither a spline nor a network tells more of age than a line."
)


def harmonized(how: dict[str, Any] | None, seed: int, fit: Any, new: Any) -> tuple[Any, Any]:
    """Values of people of the fit and of those held out, each (X, site, covariates)."""
    if how is None:
        return fit[0], new[0]
    model = motet.FeatureHarmonizer(**{"method": "fed_combat", **how}, seed=seed)
    X, site, people = fit
    first = model.fit_transform(X, batch=site, covariates=people)
    return first, model.transform(new[0], batch=new[1], covariates=new[2])


def of_age(fit: np.ndarray, age: pd.Series, new: np.ndarray, new_age: pd.Series) -> float:
    """R² of held-out people's age."""
    scaler = StandardScaler().fit(fit)
    ridge = RidgeCV(np.logspace(-1, 4, 16)).fit(scaler.transform(fit), age)
    return float(r2_score(new_age, ridge.predict(scaler.transform(new))))


def of_site(values: np.ndarray, site: pd.Series, people: pd.DataFrame) -> float:
    """Mean F of site beyond covariates."""
    age = (people["age"].to_numpy() - 50) / 15
    own = np.column_stack([np.ones(len(age)), age, age**2, people["sex"] == "M"]).astype(float)
    both = np.column_stack([own, pd.get_dummies(site).to_numpy()[:, 1:]]).astype(float)
    left = [
        np.square(values - D @ np.linalg.lstsq(D, values, rcond=None)[0]).sum(axis=0)
        for D in (own, both)
    ]
    more = both.shape[1] - own.shape[1]
    F = (left[0] - left[1]) / more / (left[1] / (len(age) - both.shape[1]))
    return float(F.mean())


def main() -> None:
    """Run all methods and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    table = pd.read_csv(args.tables / TABLE)
    X = table.filter(like="_thickness")
    people = pd.DataFrame({"age": table["age"], "sex": table["sex"].map({1: "M", 2: "F"})})
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in METHODS}
    for seed in SEEDS:
        out = table.groupby("site").sample(frac=0.2, random_state=seed).index
        new = table.index.isin(out)
        parts = [(X[m], table["site"][m], people[m]) for m in (~new, new)]
        sd, reference = parts[0][0].std().to_numpy(), None
        for name, how in METHODS.items():
            start = time.perf_counter()
            first, later = (np.asarray(v) for v in harmonized(how, seed, *parts))
            took = time.perf_counter() - start
            reference = first if name == "combat" else reference
            rms = np.nan if reference is None else np.sqrt((((first - reference) / sd) ** 2).mean())
            ages = [part[2]["age"] for part in parts]
            rows[name].append(
                (
                    float(rms),
                    of_age(first, ages[0], later, ages[1]),
                    of_site(later, *parts[1][1:]),
                    took,
                )
            )
            print(seed, name, rows[name][-1], flush=True)
    lines = [
        "# Fed-ComBat on IXI",
        "",
        f"`python benchmarks/fed_combat.py TABLES --out …`, {time.strftime('%Y-%m-%d')}. "
        f"{len(table)} people, {table['site'].nunique()} sites, {X.shape[1]} features; "
        f"mean over {len(SEEDS)} splits (smallest to largest).",
        "",
        "| method | rms to ComBat, sd | age R², held out | F of site, held out | exchanges | s |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in rows.items():
        mean, low, high = (f(found, axis=0) for f in (np.mean, np.min, np.max))
        kind = name.rpartition(", ")[2]
        exchanges = EXCHANGES.get(kind, EXCHANGES[""]) if "fed" in name else ""
        rms = "" if np.isnan(mean[0]) else f"{mean[0]:.1e}"
        spans = [f"{mean[i]:.3f} ({low[i]:.3f} to {high[i]:.3f})" for i in (1, 2)]
        lines.append(f"| {name} | {rms} | {spans[0]} | {spans[1]} | {exchanges} | {mean[3]:.1f} |")
    lines += ["", NOTE]
    args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

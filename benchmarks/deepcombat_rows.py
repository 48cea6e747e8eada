"""What ``deepcombat_tables.py`` found, as tables and beside what was asked for.

    python benchmarks/deepcombat_rows.py OUT.jsonl [OUT.jsonl ...]

Exits with 1 where something that was asked for is not there. Local mode may be worse than exact
mode by 2 % of exact mode's figure, means over all runs: every seed, and every drawing of each
(``--draws``), of which both have the same; standard errors are of differences run by run, for the
people that these seeds hold out. Exact mode that is drawn again differs from itself by as much in
one run. R² of age may be below ComBat's by 0.02, in every run. That no site can be told is asked of
the 9 sites, in every run; on the other tables the column says how far from that a method is, beside
ComBat. Of runs with ``--held-out 0`` there is the reconstruction alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import sem

EXACT, LOCAL, COMBAT = "small, exact mode", "small, local mode", "combat"
SVM, NINE = "site_accuracy_linear_svm", "nine-sites"
AGE = ("r2_age", "r2_AGE")
WITHIN = 0.02
"""Share of exact mode's figure by which local mode's may be worse."""
POINTS = 0.02
"""By how much R² of age may be below ComBat's."""
SPOKEN_OF = (
    ("accuracy of telling the site, linear SVM", (SVM,), -1),
    ("share of features whose batch means differ", ("anova_share",), -1),
    ("share of features with an invented effect", ("invented_effect",), -1),
    ("R² of age", AGE, 1),
)
"""What is said of harmonized values, by which metrics, and whether more of it is better."""

Rows = Sequence[dict[str, Any]]


def shown(values: Sequence[float], digits: int = 3) -> str:
    return ", ".join(f"{value:.{digits}f}" for value in values)


def _which(row: dict[str, Any]) -> tuple[int, int]:
    return row["seed"], row["draws"]


class Runs:
    """The runs of a method on one table, in the order of seeds and drawings."""

    def __init__(self, rows: Rows, version: str = "harmonized") -> None:
        self.rows = sorted(rows, key=_which)
        self.which = [_which(row) for row in self.rows]
        if doubled := sorted({one for one in self.which if self.which.count(one) > 1}):
            row = self.rows[0]
            sys.exit(f"{row['table']}, {row['method']}: there twice (seed, draws): {doubled}")
        self._version = version

    def of(self, key: str) -> list[float]:
        return [row[key] for row in self.rows]

    def metric(self, *names: str) -> list[float]:
        """A metric by the beginning of its name, mean over those of that beginning."""
        found = []
        for row in self.rows:
            values = [
                versions[self._version][0]
                for name, versions in row["metrics"].items()
                if name.startswith(names) and self._version in versions
            ]
            if not values or not np.isfinite(values).all():
                sys.exit(f"{row['table']}, {row['method']}, seed {row['seed']}: no {names[0]}")
            found.append(float(np.mean(values)))
        return found

    def chance(self) -> list[float]:
        """The largest accuracy that permuted labels give in 95 %."""
        return [row["metrics"][SVM][self._version][1][1] for row in self.rows]

    def line(self, name: str) -> str:
        """A row of the table."""
        trained = "r2_fit" in self.rows[0]
        cells = [
            ", ".join(sorted({str(n) for n in self.of("exchanges")})) if trained else "–",
            f"{np.mean(self.of('bytes')) / 1e6:.1f}" if trained else "–",
            *(f"{np.mean(self.of(key)):.3f}" if trained else "–" for key in ("r2_fit", "r2_held")),
            f"{shown(self.metric(SVM), 2)} ({shown(self.chance(), 2)})",
            f"{np.mean(self.metric('site_accuracy_random_forest')):.2f}",
            f"{np.mean(self.metric('anova_share')):.3f}",
            shown(self.metric(*AGE)),
            "–" if self._version == "raw" else f"{np.mean(self.metric('invented_effect')):.3f}",
        ]
        return f"| {name} | {' | '.join(cells)} |"


HEADER = (
    "| | exchanges | MB a site | R², fit | R², held out | linear SVM (chance gives up to) "
    "| forest | ANOVA | age R² | invented |\n|---|---|---|---|---|---|---|---|---|---|"
)
Asked = tuple[bool, str]


def local_mode(exact: Runs, local: Runs) -> Iterator[Asked]:
    """Local mode beside exact mode, which is the training with everybody in one place."""
    for key, of in (("r2_fit", "people of the fit"), ("r2_held", "people held out")):
        ratio = float(np.mean(local.of(key)) / np.mean(exact.of(key)))
        yield ratio >= 1 - WITHIN, f"reconstruction of {of}: {ratio:.1%} of exact mode's"
    fewer = min(np.divide(exact.of("exchanges"), local.of("exchanges")).tolist())
    yield fewer >= 50, f"{fewer:.0f} times fewer exchanges"
    for said, names, better in SPOKEN_OF:
        one, other = (np.array(runs.metric(*names)) for runs in (local, exact))
        of = other.mean()
        more = float((one - other).mean() / of)
        error = float(sem(one - other) / of)
        figures = f"{one.mean():.3f}, exact mode {of:.3f}"
        met = better * more >= -WITHIN
        yield met, f"{said}: {figures} ({more:+.1%}, standard error {error:.1%})"


def beside_combat(combat: Runs, runs: Runs) -> Iterator[Asked]:
    """What is not to be lost, less what ComBat, which draws nothing, keeps of it."""
    kept = dict(zip(combat.of("seed"), combat.metric(*AGE), strict=True))
    found = zip(runs.of("seed"), runs.metric(*AGE), strict=True)
    less = [value - kept[seed] for seed, value in found]
    yield min(less) >= -POINTS, f"R² of age less ComBat's: {shown(less, 4)}"


def within_chance(runs: Runs) -> Iterator[Asked]:
    """The site of held-out people is told no better than permuted labels are."""
    found, chance = runs.metric(SVM), runs.chance()
    inside = all(a <= b for a, b in zip(found, chance, strict=True))
    yield (
        inside,
        f"accuracy of telling the site: {shown(found)}; chance gives up to {shown(chance)}",
    )


def everybody(runs: Runs) -> Iterator[Asked]:
    """Reconstruction with nobody held out."""
    found = runs.of("r2_fit")
    yield all(0.5 <= r2 <= 0.6 for r2 in found), f"R² of everybody: {shown(found)}"


def judged(title: str, asked: Callable[..., Iterator[Asked]], *runs: Runs) -> bool:
    """Print what was asked of runs of the same seeds; whether all of it is there."""
    print(f"\n{title}")
    trained = [run.which for run in runs if run.rows[0]["method"] != COMBAT]
    seeds = {frozenset(run.of("seed")) for run in runs}
    if any(which != trained[0] for which in trained) or len(seeds) > 1:
        print("  NOT MET  the runs are of other seeds or drawings")
        return False
    found = list(asked(*runs))
    for met, said in found:
        print(f"  {'met    ' if met else 'NOT MET'}  {said}")
    return all(met for met, _ in found)


def about(table: str, rows: Rows) -> list[bool]:
    """Print what was found on a table; whether each of what was asked for is there."""
    names = sorted({row["method"] for row in rows})
    of = {name: [row for row in rows if row["method"] == name] for name in names}
    held = {n: [row for row in found if "metrics" in row] for n, found in of.items()}
    runs = {name: Runs(found) for name, found in held.items() if found}
    whole = {n: Runs([r for r in found if "metrics" not in r]) for n, found in of.items()}
    print(f"\n## {table}\n\n{HEADER}")
    for name, found in runs.items():
        if name == COMBAT:
            print(Runs(held[name], "raw").line("raw"))
        print(found.line(name))
    good = []
    if EXACT in runs and LOCAL in runs:
        title = "Local mode beside exact mode"
        good.append(judged(title, local_mode, runs[EXACT], runs[LOCAL]))
    for name in (EXACT, LOCAL):
        if name in runs and COMBAT in runs:
            good.append(judged(f"Beside ComBat: {name}", beside_combat, runs[COMBAT], runs[name]))
        if name in runs and table == NINE:
            good.append(judged(f"Site: {name}", within_chance, runs[name]))
        if name in whole and whole[name].rows and table == NINE:
            good.append(judged(f"Everybody in the fit: {name}", everybody, whole[name]))
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("found", type=Path, nargs="+")
    rows = [
        json.loads(line)
        for path in parser.parse_args().found
        for line in path.read_text().splitlines()
    ]
    good: list[bool] = []
    for table in dict.fromkeys(row["table"] for row in rows):
        good += about(table, [row for row in rows if row["table"] == table])
    # Of nothing nothing is shown.
    sys.exit(0 if good and all(good) else 1)


if __name__ == "__main__":
    main()

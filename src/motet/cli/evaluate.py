"""``motet evaluate``: the metrics of a finished study as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet.cli.show import console, table


def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A finished study: what 'simulate --out' wrote.")
    ],
) -> None:
    """Print how a study did, from its metrics.json."""
    from motet.report.comparison import NAMES, comparison, versions_of
    from motet.report.read import read_study

    study = read_study(folder)
    if not study.judgements:
        console.print(
            "The study was not judged: 'evaluation: {metrics: none}', or no metrics.json.",
            markup=False,
        )
        return
    titles = {"simulation": "with everybody in one place", "sums": "from sums alone"}
    for source, judged in study.judgements.items():
        versions = versions_of(judged)
        rows_of = f"{judged.n} {'row' if judged.n == 1 else 'rows'}, {judged.people}"
        console.print(
            f"{rows_of}; {judged.features} features; {titles[source]}",
            markup=False,
        )
        for group in comparison(judged):
            rows = []
            for row in group.rows:
                chance = f"{row.chance} ({row.band})" if row.band else row.chance
                words = [cell.words for cell in row.cells if cell.version == "harmonized"]
                rows.append((row.title, chance, *(cell.value for cell in row.cells), *words))
            table(
                ("metric", "chance", *(NAMES[version] for version in versions), "harmonized is"),
                rows,
                title=f"\n{group.title}",
            )
        for note in judged.notes:
            console.print(f"note: {note}", markup=False)
        console.print("")

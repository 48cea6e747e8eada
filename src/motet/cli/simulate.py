"""``motet simulate``: all sites in this process, the same code as deployed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from motet.cli.show import console, effect_table, judgement_table, progress, warnings
from motet.training.log import LOG


class Reports(StrEnum):
    """When the pages are made."""

    NOW = "now"
    LATER = "later"


class Where(StrEnum):
    """Where networks are trained."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def simulate(
    study: Annotated[Path, typer.Argument(help="The study file (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder to write; the same study resumes in it.")],
    reports: Annotated[
        Reports, typer.Option(help="Make the pages now, or later with 'motet report'.")
    ] = Reports.NOW,
    device: Annotated[
        Where,
        typer.Option(help="Where networks are trained; auto: CUDA where there is some."),
    ] = Where.AUTO,
) -> None:
    """Run a study with all sites on this machine."""
    from motet import simulation

    with progress() as observe:
        result = simulation.simulate(
            study,
            out=out,
            observe=observe,
            reports="now" if reports is Reports.NOW else "later",
            device=device.value,
        )
    warnings(result.warnings)
    for site, code in result.missing.items():
        console.print(f"warning: site {site} is missing ({code}).", markup=False)
    found = result.judgements.get("simulation", result.judgements.get("sums"))
    if found is not None:
        judgement_table(found)
    elif result.site_effect is not None:
        effect_table(result.site_effect)
    names = [
        name
        for name in ("report.html", "plan.json", "run.json", "metrics.json", "evaluation.npz", LOG)
        if (out / name).is_file()
    ]
    console.print(
        f"\nWritten to {out}:\n"
        f"  {', '.join(names)}\n"
        f"  shared/               the shared model, {result.sha256[:12]}\n"
        f"  sites/<site>/         model, harmonized data (BIDS derivative), ledger, of "
        f"{len(result.models)} sites",
        markup=False,
    )

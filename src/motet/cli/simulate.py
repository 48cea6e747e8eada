"""``motet simulate``: all sites in this process, the same code as deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motet.cli.show import console, effect_table, progress, warnings


def simulate(
    study: Annotated[Path, typer.Argument(help="The study file (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder to write; the same study resumes in it.")],
) -> None:
    """Run a study with all sites on this machine."""
    from motet import simulation

    with progress() as observe:
        result = simulation.simulate(study, out=out, observe=observe)
    warnings(result.warnings)
    for site, code in result.missing.items():
        console.print(f"warning: site {site} is missing ({code}).", markup=False)
    if result.site_effect is not None:
        effect_table(result.site_effect)
    console.print(
        f"\nWritten to {out}:\n"
        f"  plan.json, metrics.json\n"
        f"  shared/               the shared model, {result.sha256[:12]}\n"
        f"  sites/<site>/         model, harmonized data (BIDS derivative), ledger, of "
        f"{len(result.models)} sites",
        markup=False,
    )

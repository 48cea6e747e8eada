"""``motet simulate``: all sites on this machine, the same code as deployed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motet.cli.show import console, effect_table, judgement_table, progress, remarks, warnings
from motet.errors import EngineError, listed
from motet.training.log import LOG

if TYPE_CHECKING:
    from motet.engine import Engine


class Reports(StrEnum):
    """When the pages are made."""

    NOW = "now"
    LATER = "later"


class Where(StrEnum):
    """Where networks are trained."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class EngineName(StrEnum):
    """Where the sites work."""

    INPROCESS = "inprocess"
    RAY = "ray"


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
    engine: Annotated[
        EngineName,
        typer.Option(
            help="Sites in this process, or each in its own (pip install 'motet\\[ray]')."
        ),
    ] = EngineName.INPROCESS,
    cpus_per_site: Annotated[
        float | None,
        typer.Option(help="With ray: cores a site takes while it works, 1 where not said."),
    ] = None,
    gpus_per_site: Annotated[
        float | None,
        typer.Option(help="With ray: GPUs a site has for itself; 0.5 where two share one."),
    ] = None,
) -> None:
    """Run a study with all sites on this machine."""
    from motet import simulation

    chosen = _engine(engine, cpus_per_site=cpus_per_site, gpus_per_site=gpus_per_site)
    with progress() as observe:
        result = simulation.simulate(
            study,
            out=out,
            observe=observe,
            reports="now" if reports is Reports.NOW else "later",
            device=device.value,
            engine=chosen,
        )
    warnings(result.warnings)
    remarks(result.plan, result.shared)
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
    if own := [site for site in sorted(result.models) if (out / "sites" / site / LOG).is_file()]:
        console.print(
            f"  sites/<site>/{LOG}  losses of the networks that {listed(own)} trained alone",
            markup=False,
        )


def _engine(
    name: EngineName, *, cpus_per_site: float | None, gpus_per_site: float | None
) -> Engine:
    from motet.engine import in_process, on_ray

    if name is EngineName.RAY:
        return on_ray(
            cpus_per_site=1.0 if cpus_per_site is None else cpus_per_site,
            gpus_per_site=gpus_per_site or 0.0,
        )
    if (cpus_per_site, gpus_per_site) != (None, None):
        raise EngineError(
            "--cpus-per-site and --gpus-per-site are shares of sites in processes of their own.",
            do="Add --engine ray.",
        )
    return in_process

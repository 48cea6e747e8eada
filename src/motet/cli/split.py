"""``motet split``: a pooled table into per-site folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from motet.cli.show import console
from motet.errors import listed

Names = list[str] | None


def _names(texts: Names) -> list[str]:
    """``a,b`` and ``--option a --option b`` alike."""
    return [name.strip() for text in texts or [] for name in text.split(",") if name.strip()]


def split(
    table: Annotated[Path, typer.Argument(help="A pooled table, CSV or TSV (.gz too).")],
    by: Annotated[str, typer.Option(help="Column that names the site.")],
    out: Annotated[Path, typer.Option(help="Folder to make; one folder a site in it.")],
    id: Annotated[str, typer.Option(help="Column that names the person.")] = "participant_id",
    covariates: Annotated[Names, typer.Option(help="Columns to keep as covariates: a,b,c.")] = None,
    batch: Annotated[str, typer.Option(help="Column that names the scanner in a site.")] = "",
    session: Annotated[str, typer.Option(help="Column that names the session.")] = "",
    features: Annotated[Names, typer.Option(help="Features only: names or '*_thickness'.")] = None,
    drop: Annotated[Names, typer.Option(help="Columns to leave out: a,b,c.")] = None,
    sites: Annotated[Names, typer.Option(help="These sites only: a,b,c.")] = None,
) -> None:
    """Turn a pooled table into one BIDS-like folder a site."""
    from motet.bids.split import split_table

    made = split_table(
        table,
        by=by,
        id=id,
        covariates=_names(covariates),
        out=out,
        session=session or None,
        batch=batch or None,
        drop=_names(drop),
        features=_names(features),
        sites=_names(sites),
    )
    people = ", ".join(f"{site} {n}" for site, n in made.sites.items())
    console.print(
        f"{len(made.sites)} sites ({people})\n{made.n_features} features: "
        f"{listed(made.features, at_most=12)}",
        markup=False,
    )
    for names, what, which in (
        (made.identifiers, "whole numbers that differ for everybody", "are identifiers"),
        (made.of_the_site, "one number at every site, another elsewhere", "are the site"),
        (made.codes, "few whole numbers", "are no measures of the brain"),
    ):
        if names:
            console.print(
                f"note: {listed(names)}: {what}. If these {which}, leave them out: "
                f"--drop {','.join(names)}",
                markup=False,
            )
    if made.text_columns:
        console.print(f"text, kept in participants.tsv: {listed(made.text_columns)}", markup=False)
    if made.dropped:
        console.print(f"left out: {listed(made.dropped)}", markup=False)
    study = {
        "study": out.name,
        "method": "combat",
        "params": {"covariates": _names(covariates)},
        "sites": {site: str(out / site) for site in made.sites},
    }
    text = yaml.safe_dump(study, sort_keys=False, allow_unicode=True)
    console.print(f"\nA study file for these sites:\n\n{text.rstrip()}", markup=False)

"""``motet report``: the reports of a finished study, made again from its files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from motet.cli.show import console


class Pages(StrEnum):
    """Whether the study report includes the pages of the sites."""

    SHOWN = "shown"
    HIDDEN = "hidden"


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A finished study: what 'simulate --out' wrote.")
    ],
    site_pages: Annotated[
        Pages,
        typer.Option(help="Include the hospitals' own pages, with people; in a simulation only."),
    ] = Pages.HIDDEN,
) -> None:
    """Make the reports of a finished study again.

    The study report comes from what was released alone. The pages of the sites are made where
    their data lie as they did; elsewhere those that are there stay.
    """
    from motet import report as reports
    from motet.site_reports import remake_site_reports

    kept = remake_site_reports(folder)
    path = reports.write_study_report(
        folder, site_pages="shown" if site_pages is Pages.SHOWN else "left out"
    )
    for site, why in kept.items():
        console.print(f"site {site}: its report was not made again ({why})", markup=False)
    console.print(f"Written: {path}", markup=False)

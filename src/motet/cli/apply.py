"""``motet apply``: harmonize new people (BIDS-App grammar)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from motet.cli.show import console
from motet.errors import listed


class Level(StrEnum):
    """Analysis level of a BIDS-App."""

    PARTICIPANT = "participant"


def apply(
    bids_dir: Annotated[Path, typer.Argument(help="A site's folder.")],
    out: Annotated[Path, typer.Argument(help="Where the harmonized derivative goes.")],
    level: Annotated[Level, typer.Argument(help="Analysis level.")],
    model: Annotated[
        Path, typer.Option(help="A study's output folder, a site's folder in it, or a shared/.")
    ],
    site: Annotated[
        str, typer.Option(help="Whose people these are; default: the name of BIDS_DIR.")
    ] = "",
    participant_label: Annotated[
        list[str] | None,
        typer.Option(
            "--participant-label",
            "--participant_label",
            help="Only these people, with or without 'sub-'; once a person.",
        ),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            help="Another target, of methods that can: a batch of the study, 'mean', or reference "
            "images (*.nii.gz, one a contrast, with commas). Of MURD also BATCH=2, another of its "
            "appearances, and BATCH=IMAGE.nii.gz: its style encoder has a head a batch."
        ),
    ] = "",
    n_procs: Annotated[
        int,
        typer.Option(
            "--n-procs",
            "--n_procs",
            min=1,
            help="Threads: images side by side, or linear algebra.",
        ),
    ] = 1,
) -> None:
    """Harmonize people of a known site, or of a site that was never part of the study.

    An unseen site is adjusted with effects estimated from its own people; nothing is uploaded.
    """
    from threadpoolctl import threadpool_limits

    from motet.apply import apply_model

    with threadpool_limits(n_procs):
        done = apply_model(
            model,
            bids_dir,
            out,
            site=site,
            participants=participant_label or [],
            to=to,
            workers=n_procs,
        )
    for words in done.warnings:
        console.print(f"note: {done.site}: {words}", markup=False)
    if done.known:
        console.print(
            f"Site {done.site}: batch {listed(done.known)} as adjusted in the study"
            f"{f', brought to {to}' if to else ''}.",
            markup=False,
        )
    whom = "person" if done.people == 1 else "people"
    console.print(f"{done.people} {whom} harmonized: {out}", markup=False)

"""``motet phantom``: an image consortium with known truth."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from motet.cli.show import console


class Effects(StrEnum):
    """What tells scanners apart."""

    MONOTONE = "monotone"
    TISSUE = "tissue"


def phantom(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    sites: Annotated[int, typer.Option(min=2, max=12, help="Hospitals.")] = 4,
    people: Annotated[int, typer.Option(min=1, help="People of each hospital.")] = 12,
    travelers: Annotated[int, typer.Option(min=0, help="People scanned at every one.")] = 3,
    contrasts: Annotated[str, typer.Option(help="T1w, T2w, PDw, FLAIR, with commas.")] = "T1w",
    effect: Annotated[
        Effects,
        typer.Option(
            help="monotone: one curve a scanner, which histogram matching can undo. tissue: "
            "tissues change their order and there is a bias field."
        ),
    ] = Effects.TISSUE,
    confounded: Annotated[
        bool, typer.Option("--confounded", help="Hospitals see people of other age and sex.")
    ] = False,
    bend: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=20.0,
            help="mm by which anatomies differ; below a voxel: as registered to a template.",
        ),
    ] = 4.0,
    anatomy: Annotated[
        Path | None,
        typer.Option(
            help="A label map, a folder of them, or an npz file of labelled slabs; default: the "
            "MNI152 template of nilearn."
        ),
    ] = None,
    resolution: Annotated[
        int,
        typer.Option(
            min=0,
            max=4,
            help="mm; a multiple of the anatomy's own. Default: 2 mm of the template, others as "
            "they are.",
            show_default=False,
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Another seed, other people and scanners.")] = 1,
) -> None:
    """Simulate scanners on real anatomy: what harmonization should give is known exactly."""
    from motet.phantom.anatomy import anatomies
    from motet.phantom.consortium import Consortium, contrasts_of

    found, source = anatomies(anatomy, resolution=resolution)
    made = Consortium(
        anatomies=found,
        source=source,
        sites=sites,
        people=people,
        travelers=travelers,
        contrasts=contrasts_of(contrasts),
        effect=effect.value,
        confounded=confounded,
        bend=bend,
        seed=seed,
    )
    made.write(out)
    shape = " x ".join(map(str, found[0].inside.shape))
    console.print(
        f"{sites} hospitals of {people} people, {travelers} travelers; {contrasts}, {shape} voxels."
        f"\nWritten to {out}: README says what is where.",
        markup=False,
    )

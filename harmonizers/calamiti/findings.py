"""What the study report says of a finished model: its style codes, and what it was trained with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from motet.harmonizer import Findings, Profile
from motet.harmonizers.calamiti.fitting import SLICES
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import of_fusion
from motet.harmonizers.calamiti.styles import Styles
from motet.releases import Arrays
from motet.schema import Schema

EVERYBODY = "mean of everybody"


def findings(params: CalamitiParams, schema: Schema, shared: Arrays) -> Findings:
    """Style codes: the mean over everybody, and those of the scanners that agreed to tell."""
    targets = Styles(params, schema).targets
    names = {EVERYBODY: "", **{str(batch): f".{k}" for k, batch in enumerate(targets)}}
    told = {name: of for name, of in names.items() if f"theta{of}" in shared}
    return Findings(
        title="Anatomy and style",
        facts=tuple(_facts(params)),
        curves=tuple(
            Profile(
                title=f"Style codes, {contrast}",
                columns=tuple(map(str, range(1, params.sizes.style + 1))),
                values={
                    name: np.asarray(shared[f"theta{of}"][c, : params.sizes.style])
                    for name, of in told.items()
                },
            )
            for c, contrast in enumerate(params.contrasts)
        ),
        tables=(
            Profile(
                title="Intensity of white matter",
                columns=params.contrasts,
                values={name: np.asarray(shared[f"white{of}"]) for name, of in told.items()},
            ),
        ),
    )


def _facts(params: CalamitiParams) -> Iterator[tuple[str, str]]:
    sizes = params.sizes
    code = "one-hot" if sizes.one_hot else "soft"
    yield (
        "contrasts",
        " and ".join(params.contrasts)
        + ("" if params.second else "; the second of each pair is the first under a random curve"),
    )
    yield "anatomy code", f"{sizes.anatomy} channels, {code}; no anatomy code leaves a hospital"
    shading = f", and {sizes.shading**2} of its shading" if sizes.shading else ""
    yield "everybody is brought to", params.to or EVERYBODY
    yield "style code", f"{sizes.style} numbers a contrast{shading}"
    if params.style_steps and params.targets:
        yield (
            "style codes of targets",
            f"fitted to about {params.style_steps * SLICES} slices of their own people where that "
            "is nearer than the mean of theirs",
        )
    if params.vgg16:
        yield "perceptual term", f"features of VGG16 (relu2_2), weights {params.vgg16[:12]}…"
    else:
        yield (
            "perceptual term",
            "none of VGG16: differences of neighbouring pixels (L1) stand for its features",
        )
    how = "their voxel-wise median"
    if params.fusion == "network":
        how = "a network that was trained after the others"
    planes = ", ".join(params.planes)
    yield "planes", planes if len(params.planes) == 1 else f"{planes}; combined by {how}"
    count = sum(sizes.groups.values())
    count += of_fusion(len(params.planes), sizes) if params.fusion == "network" else 0
    yield "size of the networks", f"{count:,} numbers".replace(",", "\u202f")
    if params.detail:
        yield "detail", f"{params.detail:.0%} of what decoded images lack of scans is put back"

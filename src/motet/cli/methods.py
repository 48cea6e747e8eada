"""``motet methods``: what there is, with each method's card."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from motet.cli.show import console, table
from motet.documented import meanings
from motet.training.options import TrainedParams, TrainOptions


def methods(
    name: Annotated[str, typer.Argument(help="A method; without it, the list of all.")] = "",
) -> None:
    """List the methods, or print one method's card and parameters."""
    from motet import registry
    from motet.harmonizer import KEEPS

    known = registry.methods()
    if not name:
        table(
            ("method", "data", "what it does"),
            [(n, known.get(n).card.data, known.get(n).card.summary) for n in known.names()],
        )
        return
    method = known.get(name)
    card = method.card
    console.print(f"{card.title} ({name}): {card.summary}\n", markup=False)
    console.print(f"leaves a site: {card.leaves}", markup=False)
    if card.data != "table":
        console.print(f"tissues: {KEEPS[card.tissues]}", markup=False)
    for limit in card.limits:
        console.print(f"limit: {limit}", markup=False)
    for paper in card.papers:
        console.print(f"paper: {paper}", markup=False)
    console.print("")
    kind, instead = method.params_type, dict[str, Any]()
    if issubclass(kind, TrainedParams):
        first = kind()
        instead = {**kind.presets.get(first.train.preset, {}), "train": "see below"}
    _options(kind, instead, apart=() if kind.models_covariates else ("covariates",))
    if issubclass(kind, TrainedParams):
        chosen = first.train.model_dump()
        console.print(
            f"\nThe section train: of a study file, with the defaults of preset "
            f"{first.train.preset} (docs/howto/train.md):",
            markup=False,
        )
        _options(TrainOptions, chosen, apart=set(chosen) - set(kind.used))
        for preset in kind.presets:
            console.print(f"preset {preset}: {_preset(kind, preset)}", markup=False)


def _options(
    kind: type[BaseModel], instead: Mapping[str, Any], *, apart: Collection[str] = ()
) -> None:
    """Print options but those `apart`; `instead` of their defaults, what a preset says."""
    said = meanings(kind)
    table(
        ("parameter", "default", "what", "meaning"),
        [
            (
                key,
                instead.get(key, field.get_default(call_default_factory=True)),
                said[key][0].replace("``", ""),
                said[key][1].replace("``", ""),
            )
            for key, field in kind.model_fields.items()
            if key not in apart
        ],
    )


def _preset(kind: type[TrainedParams], preset: str) -> str:
    """What a preset sets: of the section, and of the method's own parameters."""
    found = dict(kind.presets[preset])
    train = found.pop("train", {})
    return ", ".join(f"{key} {value}" for key, value in {**train, **found}.items())

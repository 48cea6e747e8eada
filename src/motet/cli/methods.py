"""``motet methods``: what there is, with each method's card."""

from __future__ import annotations

from typing import Annotated

import typer

from motet.cli.show import console, table


def methods(
    name: Annotated[str, typer.Argument(help="A method; without it, the list of all.")] = "",
) -> None:
    """List the methods, or print one method's card and parameters."""
    from motet import registry
    from motet.documented import meanings
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
    said = meanings(method.params_type)
    table(
        ("parameter", "default", "what", "meaning"),
        [
            (
                key,
                field.get_default(call_default_factory=True),
                said[key][0].replace("``", ""),
                said[key][1].replace("``", ""),
            )
            for key, field in method.params_type.model_fields.items()
        ],
    )

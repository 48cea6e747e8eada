"""Which figures a site page has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.report.figures.by_batch import by_batch
from motet.report.figures.canvas import shown
from motet.report.figures.densities import densities
from motet.report.site_numbers import Changes
from motet.report.worst import largest

PANELS = 6
"""Features whose densities are shown."""
EFFECTS: dict[str, tuple[str, str, float | None]] = {
    "gamma_star": ("Shifts of the batches, gamma*", "standard deviations", 0.0),
    "delta_star": ("Scales of the batches, delta*", "ratio of variances", 1.0),
}
"""Effects of batches that have a title here; others of shape (batches, features) have a name."""


@dataclass(frozen=True, kw_only=True)
class SiteFigures:
    """Inline SVGs by section."""

    densities: tuple[Markup, ...]
    people: tuple[Markup, ...]
    effects: tuple[Markup, ...]


def site_figures(
    raw: Table,
    harmonized: NDArray[np.float64],
    found: Changes,
    model: Mapping[str, NDArray[Any]],
    batches: tuple[str, ...],
) -> SiteFigures:
    """Draw the figures of a site; ids carry its name, since a study report shows several."""
    return SiteFigures(
        densities=shown(
            densities(
                raw.block([j])[:, 0],
                np.asarray(harmonized[:, j], dtype=np.float64),
                raw.batch,
                feature=raw.features[j],
                unit=raw.units[j] if raw.units else "",
                name=f"{raw.site}/density-{k}",
            )
            for k, j in enumerate(largest(found.of_feature, at_most=PANELS))
        ),
        people=shown(
            by_batch(
                {b: raw.covariates[column][raw.batch == b].to_numpy(float) for b in raw.batches},
                title=str(column),
                label=str(column),
                of="rows",
                name=f"{raw.site}/people-{column}",
            )
            for column in raw.covariates.columns
            if pd.api.types.is_numeric_dtype(raw.covariates[column])
        ),
        effects=shown(
            _effect(raw.site, name, model, batches)
            for name in [*EFFECTS, *sorted(set(model) - set(EFFECTS))]
            if name in model
            and model[name].shape == (len(batches), len(raw.features))
            and model[name].dtype.kind == "f"
        ),
    )


def _effect(
    site: str, name: str, model: Mapping[str, NDArray[Any]], batches: tuple[str, ...]
) -> Markup:
    title, label, neutral = EFFECTS.get(name, (name, "", None))
    if any(other.endswith(f".{name}") for other in model):
        # There are effects in a latent space, too: these are what is left of a batch's effect.
        title += ", of what networks leave"
    return by_batch(
        dict(zip(batches, model[name].astype(np.float64), strict=True)),
        title=title,
        label=label,
        of="features",
        name=f"{site}/effect-{name}",
        neutral=neutral,
    )

"""Histograms of one quantity, an outline a batch: ages of people, or effects over features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from motet.report.figures.canvas import INK, brief, drawn, soft_grid
from motet.report.figures.densities import colour, dashes

Float = NDArray[np.float64]


def by_batch(
    values: Mapping[str, Float],
    *,
    title: str,
    label: str,
    of: str,
    name: str,
    neutral: float | None = None,
) -> Markup:
    """Outlines of histograms with common bins.

    Parameters
    ----------
    values : mapping of str to (k,) float64
        Batch -> values, NaN where there is none.
    title, label, of, name : str
        Title, x axis, y axis; `name` is unique on the page.
    neutral : float, optional
        The value that stands for no effect.
    """
    seen = {batch: v[np.isfinite(v)] for batch, v in values.items()}
    pooled = np.concatenate([np.empty(0), *seen.values()])
    if not len(pooled):
        return Markup()
    low, high = (float(q) for q in np.quantile(pooled, (0.001, 0.999)))
    edges = np.linspace(low, high if high > low else low + 1.0, 25)
    said = "; ".join(f"{b}: median {np.median(v):.3g}" for b, v in seen.items() if len(v))
    with drawn(name, f"{title}, by batch. {said}.", height=1.9) as canvas:
        axes = canvas.figure.add_subplot()
        for k, v in enumerate(seen.values()):
            counts, _ = np.histogram(np.clip(v, edges[0], edges[-1]), edges)
            axes.stairs(counts, edges, color=colour(k), fill=True, alpha=0.12, linewidth=0)
            axes.stairs(counts, edges, color=colour(k), linestyle=dashes(k), linewidth=1.4)
        if neutral is not None:
            axes.axvline(neutral, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_title(brief(title))
        axes.set_xlabel(label)
        axes.set_ylabel(of)
        axes.yaxis.get_major_locator().set_params(integer=True)
        soft_grid(axes, "y")
    return canvas.svg

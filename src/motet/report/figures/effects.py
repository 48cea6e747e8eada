"""Effects of a covariate, harmonized against raw: on the diagonal where biology is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from motet.report.figures.canvas import HARMONIZED, INK, brief, drawn, soft_grid

Float = NDArray[np.float64]
POINTS = 400
"""Features up to which every one is a dot; beyond, density."""
CELLS = 70


def effects(raw: Float, harmonized: Float, *, column: str, name: str) -> Markup:
    """Standardized effects of a column, a feature a dot.

    Parameters
    ----------
    raw, harmonized : (p,) float64
        Cohen's d of a category, or sd a sd of a number; NaN where not judged.
    column : str
        Name of the design column.
    name : str
        Unique on the page.
    """
    both = np.isfinite(raw) & np.isfinite(harmonized)
    x, y = raw[both], harmonized[both]
    if len(x) == 0:
        return Markup()
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.06 * (high - low) or 0.1
    bounds = (low - margin, high + margin)
    alt = f"Effect of {column} in {len(x)} features, harmonized against raw{_said(x, y)}."
    with drawn(name, alt, height=3.1) as canvas:
        axes = canvas.figure.add_subplot()
        soft_grid(axes, "both")
        axes.plot(bounds, bounds, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        if len(x) <= POINTS:
            axes.plot(x, y, "o", color=HARMONIZED, markersize=3, alpha=0.65, markeredgewidth=0)
        else:
            _density(axes, x, y, bounds)
        axes.set_xlim(bounds)
        axes.set_ylim(bounds)
        axes.set_aspect("equal")
        axes.locator_params(nbins=6)
        axes.set_title(brief(f"Effect of {column}"))
        axes.set_xlabel("raw")
        axes.set_ylabel("harmonized")
    return canvas.svg


def _said(x: Float, y: Float) -> str:
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return ""
    return f": correlation {np.corrcoef(x, y)[0, 1]:.3f}"


def _density(axes: Any, x: Float, y: Float, bounds: tuple[float, float]) -> None:
    """Counts of features as shades of one colour that stands on white and on black."""
    edges = np.linspace(*bounds, CELLS + 1)
    counts, _, _ = np.histogram2d(x, y, (edges, edges))
    shade = np.zeros((CELLS, CELLS, 4))
    shade[..., :3] = (0.16, 0.50, 0.73)
    shade[..., 3] = np.where(
        counts > 0, 0.2 + 0.8 * np.log1p(counts) / np.log1p(counts.max()), 0.0
    ).T
    axes.imshow(shade, origin="lower", extent=(*bounds, *bounds), interpolation="nearest")

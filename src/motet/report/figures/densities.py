"""Densities of one feature before and after, a line a batch: of people, so a site's own page."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from motet.report.figures.canvas import BATCHES, MUTED, Margins, brief, drawn

Float = NDArray[np.float64]
GRID = 64
TICK = 0.25
"""Height of a value that stands alone."""

UNEVEN = 20.0


def densities(
    before: Float, after: Float, batch: NDArray[Any], *, feature: str, unit: str, name: str
) -> Markup:
    """Two rows on one axis: as measured above, harmonized below.

    Parameters
    ----------
    before, after : (n,) float64
        NaN where missing.
    batch : (n,) array of str
    feature, unit, name : str
        `name` is unique on the page.
    """
    seen = np.concatenate([v[np.isfinite(v)] for v in (before, after)])
    if not len(seen):
        return Markup()
    margin = 0.08 * float(np.ptp(seen)) or 0.5
    grid = np.linspace(seen.min() - margin, seen.max() + margin, GRID)
    batches = sorted(set(batch.tolist()))
    alt = f"Densities of {feature} by batch ({', '.join(batches)}), as measured and harmonized."
    with drawn(name, alt, height=1.9, margins=Margins(left=0.72)) as canvas:
        # One axes with two base lines: two axes take matplotlib twice as long.
        axes = canvas.figure.add_subplot()
        base = 0.0
        rows = [(after, "harmonized"), (before, "measured")]
        heights = [_height([v[batch == one] for one in batches], grid) for v, _ in rows]
        # One scale for both, unless one of them would be a line: intensities in other units.
        uneven = max(heights) > UNEVEN * min(heights)
        for (values, said), own in zip(rows, heights, strict=True):
            scale = max(heights) / own if uneven else 1.0
            height = max(
                _line(axes, values[batch == one], grid, base, k, scale)
                for k, one in enumerate(batches)
            )
            axes.axhline(base, color=MUTED, linewidth=0.6)
            axes.annotate(
                said,
                (-0.02, base),
                xycoords=("axes fraction", "data"),
                ha="right",
                fontsize=8,
            )
            base += 1.08 * height
        axes.set_ylim(0, base)
        axes.set_xlim(grid[0], grid[-1])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=6)
        axes.set_title(brief(feature), fontsize=8.5)
        axes.set_xlabel(unit)
    return canvas.svg


def colour(k: int) -> str:
    """Colour of the k-th batch."""
    return BATCHES[k % len(BATCHES)]


def dashes(k: int) -> Any:
    """Line style of the k-th batch: beyond eight, colours come again with dashes."""
    return ("-", (0, (5, 2)), (0, (1, 1.5)))[(k // len(BATCHES)) % 3]


def _density(values: Float, grid: Float) -> Float | None:
    """Density of one batch on the grid; None where there are too few values for one."""
    from scipy.stats import gaussian_kde

    seen = values[np.isfinite(values)]
    if len(seen) < 3 or np.ptp(seen) < 1e-9 * max(1.0, float(np.abs(seen).max())):
        return None
    found = np.asarray(gaussian_kde(seen)(grid))
    # A density that the grid does not see is a line: too narrow for a curve.
    return found if found.sum() * (grid[1] - grid[0]) > 0.5 else None


def _height(batches: list[Float], grid: Float) -> float:
    """Of the highest density; that of a tick where there is none."""
    found = [density for values in batches if (density := _density(values, grid)) is not None]
    return max((float(density.max()) for density in found), default=0.0) or TICK


def _line(axes: Any, values: Float, grid: Float, base: float, k: int, scale: float) -> float:
    """Draw one batch above a base line; the height it reaches."""
    density = _density(values, grid)
    if density is None:
        for value in values[np.isfinite(values)][:3]:  # too few for a density: a tick each
            top = base + scale * TICK
            axes.plot((value, value), (base, top), color=colour(k), linewidth=1.2)
        return 1.2 * scale * TICK
    density = scale * density
    axes.fill_between(grid, base + density, base, color=colour(k), alpha=0.12, linewidth=0)
    axes.plot(grid, base + density, color=colour(k), linestyle=dashes(k))
    return float(density.max())

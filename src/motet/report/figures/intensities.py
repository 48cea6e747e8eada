"""Distributions of intensities of images by batch, from means of quantiles; and shared scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from motet.report.figures.canvas import HARMONIZED, Margins, drawn, soft_grid
from motet.report.figures.densities import colour, dashes

Float = NDArray[np.float64]


def distributions(
    quantiles: Float, percent: Sequence[float], *, batches: Sequence[str], title: str, name: str
) -> Markup:
    """One line a batch: the intensity below which a share of the brain lies.

    Parameters
    ----------
    quantiles : (K, m) float64
        Means over the people of each batch.
    percent : sequence of m float
    batches : sequence of K str
    title, name : str
    """
    if not np.isfinite(quantiles).all():
        return Markup()
    alt = f"{title}: distribution of intensities by batch ({', '.join(batches)})."
    with drawn(name, alt, height=1.9, margins=Margins(left=0.5)) as canvas:
        axes = canvas.figure.add_subplot()
        for k, own in enumerate(quantiles):
            axes.plot(own, percent, color=colour(k), linestyle=dashes(k))
        _percent(axes)
        axes.set_title(title)
        axes.set_xlabel("intensity")
    return canvas.svg


def scale(values: Float, percent: Float, *, title: str, name: str) -> Markup:
    """A distribution that all sites share: a standard scale, or a target.

    Parameters
    ----------
    values : (m,) float64
        Intensities.
    percent : (m,) float64
    title, name : str
    """
    with drawn(name, f"{title}.", height=1.9, margins=Margins(left=0.5)) as canvas:
        axes = canvas.figure.add_subplot()
        marker = "o" if len(values) < 20 else ""
        axes.plot(values, percent, color=HARMONIZED, marker=marker, markersize=3)
        _percent(axes)
        axes.set_title(title)
        axes.set_xlabel("intensity")
    return canvas.svg


def _percent(axes: Any) -> None:
    soft_grid(axes, "both")
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("% of the brain")

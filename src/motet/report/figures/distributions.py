"""Distributions over features, before and after: site effect, p values, estimates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from motet.report.comparison import NAMES
from motet.report.figures.canvas import (
    HARMONIZED,
    INK,
    OF_VERSION,
    Margins,
    brief,
    drawn,
    soft_grid,
)

Float = NDArray[np.float64]
BINS = 40


def histogram(values: Mapping[str, Float], *, title: str, label: str, name: str) -> Markup:
    """Outlines of the versions' histograms over features, with their medians.

    Parameters
    ----------
    values : mapping of str to (p,) float64
        Version -> one value a feature, NaN where there is none.
    title, label : str
        Of the figure and of its x axis.
    name : str
        Unique on the page.
    """
    seen = _seen(values)
    if not seen:
        return Markup()
    top = max(float(np.quantile(v, 0.995)) for v in seen.values())
    low = min(float(v.min()) for v in seen.values())
    edges = np.linspace(min(0.0, low), top if top > low else low + 1.0, _bins(seen) + 1)
    medians = "; ".join(f"{NAMES[k]} median {np.median(v):.3f}" for k, v in seen.items())
    with drawn(name, f"{title}, over features: {medians}.") as canvas:
        axes = canvas.figure.add_subplot()
        for version, v in seen.items():
            counts, _ = np.histogram(np.clip(v, edges[0], edges[-1]), edges)
            _outline(axes, counts / len(v), edges, version)
            axes.axvline(
                np.median(v), color=OF_VERSION[version], linewidth=0.9, linestyle=(0, (2, 2))
            )
        _finish(axes, title, label)
    return canvas.svg


def _seen(values: Mapping[str, Float]) -> dict[str, Float]:
    """The values there are; a version without any is left out."""
    finite = {version: v[np.isfinite(v)] for version, v in values.items()}
    return {version: v for version, v in finite.items() if len(v)}


def _bins(seen: Mapping[str, Float]) -> int:
    """Fewer bins for few features: a bin should hold several."""
    return int(np.clip(max(map(len, seen.values())) // 4, 12, BINS))


def p_values(values: Mapping[str, Float], *, title: str, name: str) -> Markup:
    """Histograms of p values; where there is nothing to find they are flat, at the line."""
    seen = _seen(values)
    if not seen:
        return Markup()
    edges = np.linspace(0.0, 1.0, 21)
    shares = "; ".join(f"{NAMES[k]} {100 * np.mean(v < 0.05):.0f} %" for k, v in seen.items())
    alt = f"{title}: share of features below 0.05: {shares}; chance gives 5 %."
    with drawn(name, alt, margins=Margins(right=0.45)) as canvas:
        axes = canvas.figure.add_subplot()
        for version, v in seen.items():
            counts, _ = np.histogram(v, edges)
            _outline(axes, counts / len(v), edges, version)
        axes.axhline(0.05, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            "chance",
            (1.0, 0.05),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
        axes.set_xlim(0, 1)
        _finish(axes, title, "p value")
    return canvas.svg


def estimate(values: Float, *, title: str, label: str, name: str) -> Markup:
    """Histogram of one shared estimate over features; on a log axis where it spans decades."""
    seen = values[np.isfinite(values)]
    if not len(seen):
        return Markup()
    decades = bool(seen.min() > 0 and seen.max() > 1000 * seen.min())
    shown = np.log10(seen) if decades else seen
    counts, edges = np.histogram(shown, min(BINS, max(8, len(seen) // 4)))
    alt = (
        f"{title} over {len(seen)} features: from {seen.min():.3g} to {seen.max():.3g}, median "
        f"{np.median(seen):.3g}."
    )
    with drawn(name, alt, height=1.9) as canvas:
        axes = canvas.figure.add_subplot()
        axes.stairs(counts, edges, color=HARMONIZED, fill=True, alpha=0.35, linewidth=0)
        axes.stairs(counts, edges, color=HARMONIZED, linewidth=1.2)
        if decades:
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.xaxis.set_major_formatter(lambda x, _: f"{10.0**x:.3g}")
        axes.set_title(brief(title))
        axes.set_xlabel(label)
        axes.set_ylabel("features")
        soft_grid(axes, "y")
    return canvas.svg


def _outline(axes: Any, shares: Float, edges: Float, version: str) -> None:
    colour = OF_VERSION[version]
    axes.stairs(shares, edges, color=colour, fill=True, alpha=0.18, linewidth=0)
    axes.stairs(shares, edges, color=colour, linewidth=1.5, label=NAMES[version])


def _finish(axes: Any, title: str, label: str) -> None:
    soft_grid(axes, "y")
    axes.set_title(brief(title))
    axes.set_xlabel(label)
    axes.set_ylabel("share of features")
    axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
    axes.legend(loc="upper right", handlelength=1.4)

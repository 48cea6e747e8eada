"""Some numbers of several targets side by side: a line a target."""

from __future__ import annotations

from markupsafe import Markup

from motet.harmonizer import Profile
from motet.report.figures.canvas import Margins, brief, drawn, soft_grid
from motet.report.figures.densities import colour, dashes

ROW = 0.16
"""Inches of a line of the legend."""


def profile(found: Profile, *, name: str) -> Markup:
    """Draw it; nothing where there is nothing.

    Parameters
    ----------
    found : Profile
    name : str
        Unique on the page.
    """
    if not found.values:
        return Markup()
    rows = (len(found.values) + 1) // 2
    alt = f"{found.title}: a line each of {', '.join(found.values)}; the numbers are in the table."
    low = Margins(bottom=0.45 + ROW * rows)
    with drawn(name, alt, height=2.1 + ROW * rows, margins=low) as canvas:
        axes = canvas.figure.add_subplot()
        soft_grid(axes, "both")
        for k, (target, values) in enumerate(found.values.items()):
            places = range(1, len(values) + 1)
            style = {"color": colour(k), "linestyle": dashes(k), "linewidth": 1.2}
            axes.plot(places, values, label=brief(target, at_most=24), marker="o", ms=3, **style)
        axes.set_xticks(range(1, 1 + len(found.columns)), found.columns)
        axes.set_title(found.title)
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.45, -0.14),
            ncols=2,
            handlelength=2.2,
            columnspacing=1.2,
        )
    return canvas.svg

"""From a matplotlib figure to an inline SVG.

Colours are placeholders that become CSS variables, so a figure is right on white, on dark and in
print; text stays text, in the page's own font. Same values, same bytes: no dates, and ids that
depend on the figure's name alone. No pyplot, no global state: `figure` may run in any thread.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
RAW, LOCAL, POOLED, HARMONIZED, DEMOGRAPHICS = "#050505", "#060606", "#070707", "#080808", "#090909"
BAND, COMBAT = "#0a0a0a", "#0c0c0c"
BATCHES = tuple(f"#0b0b0{k}" for k in range(8))
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    RAW: "raw",
    LOCAL: "local",
    POOLED: "pooled",
    COMBAT: "combat",
    HARMONIZED: "harmonized",
    DEMOGRAPHICS: "demographics",
    BAND: "band",
    **{colour: f"batch{k}" for k, colour in enumerate(BATCHES)},
}
"""Placeholder -> name of the CSS variable (style.css holds light and dark values)."""

OF_VERSION = {
    "raw": RAW,
    "local_only": LOCAL,
    "pooled": POOLED,
    "combat": COMBAT,
    "harmonized": HARMONIZED,
    "demographics": DEMOGRAPHICS,
}
WIDTH = 3.55
"""Inches of one panel: at this width it fits a telephone, and three stand side by side."""

STYLE: dict[str, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
    "path.simplify": True,
}
_drawing = threading.Lock()


@dataclass
class Canvas:
    """A figure being drawn, and the SVG it becomes."""

    figure: Any
    svg: Markup = field(default_factory=Markup)


@dataclass(frozen=True)
class Margins:
    """Room around the axes, inches: fixed, so that nothing has to be drawn twice to be laid out."""

    left: float = 0.64
    right: float = 0.12
    bottom: float = 0.45
    top: float = 0.28


PLAIN = Margins()


@contextmanager
def drawn(
    name: str, alt: str, *, height: float = 2.1, margins: Margins = PLAIN
) -> Iterator[Canvas]:
    """Draw on ``canvas.figure`` within the block; read ``canvas.svg`` after it.

    Parameters
    ----------
    name : str
        Unique on the page: ids within the SVG derive from it.
    alt : str
        What the figure shows, for those who do not see it.
    height : float
        Inches; every panel is ``WIDTH`` wide.
    margins : Margins
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # rc_context changes what is global for as long as it lasts: one figure at a time.
    style: Any = {**STYLE, "svg.hashsalt": name}
    with _drawing, mpl.rc_context(style):
        figure = Figure(figsize=(WIDTH, height))
        figure.subplots_adjust(
            left=margins.left / WIDTH,
            right=1 - margins.right / WIDTH,
            bottom=margins.bottom / height,
            top=1 - margins.top / height,
            hspace=0.12,
        )
        FigureCanvasAgg(figure)
        canvas = Canvas(figure)
        yield canvas
        stream = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing)
    canvas.svg = _inline(stream.getvalue(), alt=alt)


def _inline(text: str, *, alt: str) -> Markup:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: m.group(0) if m.group(1) in used else "", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    # A tenth of a point is enough for paths and a hundredth elsewhere; texts keep their digits.
    text = re.sub(r' d="[^"]*"', lambda m: re.sub(r"(\.\d)\d+", r"\1", m.group(0)), text)
    text = re.sub(r'="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m.group(0)), text)
    view = re.search(r'viewBox="[^"]+"', text)
    assert view is not None
    style = f"width:min(100%,{96 * WIDTH:.0f}px)"
    opening = (
        f'<svg class="figure" role="img" aria-label="{escape(alt)}" {view.group(0)} '
        f'style="{style}" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink"><title>{escape(alt)}</title>'
    )
    body = text[text.index(">") + 1 :]
    body = re.sub(r"\n\s*", "\n", body)
    return Markup(opening + body)  # noqa: S704 - texts are escaped: in `body` by matplotlib


def standalone(svg: Markup, colours: Mapping[str, str]) -> str:
    """The same figure as a file of its own, on a plain ground.

    Parameters
    ----------
    svg : Markup
    colours : mapping of str to str
        CSS variable -> colour; ``paper`` is the ground.
    """
    text = re.sub(r"var\(--([a-z0-9]+)\)", lambda m: colours[m.group(1)], str(svg))
    ground = f'<rect width="100%" height="100%" fill="{colours["paper"]}"/>'
    return text.replace("</title>", f"</title>{ground}", 1)


def shown(figures: Iterable[Markup]) -> tuple[Markup, ...]:
    """Those that had something to draw."""
    return tuple(figure for figure in figures if figure)


def brief(name: str, *, at_most: int = 44) -> str:
    """A name as a title: cut in its middle where it would run out of the figure."""
    if len(name) <= at_most:
        return name
    return f"{name[: at_most // 2]}…{name[-(at_most // 2 - 1) :]}"


def soft_grid(axes: Any, axis: str = "x") -> None:
    """A faint grid behind the marks."""
    axes.grid(visible=True, axis=axis)
    axes.set_axisbelow(True)

"""One metric over the versions of the data: value, interval, and the band of chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from motet.evaluation.result import VERSIONS, Metric, Reading
from motet.report.comparison import NAMES, figure, is_share, pair
from motet.report.figures.canvas import BAND, INK, OF_VERSION, Margins, brief, drawn, soft_grid

PROBE = "Site balanced accuracy, "
MARGINS = Margins(left=0.95, right=0.5, bottom=0.28)


def forest(metric: Metric, *, name: str, limits: tuple[float, float] | None = None) -> Markup:
    """A row a version: a dot, its 95 % interval, and behind it what chance gives.

    Empty where no version has a value.

    Parameters
    ----------
    metric : Metric
    name : str
        Unique on the page.
    limits : (float, float), optional
        Of the axis, where several figures are to be compared.
    """
    rows = [
        (version, reading)
        for version in VERSIONS
        if (reading := metric.readings.get(version)) is not None and reading.value is not None
    ]
    if not rows:
        return Markup()
    height = MARGINS.top + MARGINS.bottom + 0.27 * len(rows)
    with drawn(name, _alt(metric, rows), height=height, margins=MARGINS) as canvas:
        axes = canvas.figure.add_subplot()
        soft_grid(axes)
        for y, (version, reading) in enumerate(rows):
            _row(axes, y, reading, OF_VERSION[version], figure(metric.name, reading.value or 0.0))
        if metric.chance is not None:
            axes.axvline(metric.chance, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        axes.set_yticks(range(len(rows)), [NAMES[version] for version, _ in rows])
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        if is_share(metric.name):
            axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.0f} %")
        axes.locator_params(axis="x", nbins=6)
        axes.margins(x=0.08)
        if limits is not None:
            axes.set_xlim(limits)
        # The caption says what probes are read for; the title begins with which.
        axes.set_title(brief(metric.title.removeprefix(PROBE), at_most=36))
    return canvas.svg


def _row(axes: Any, y: int, reading: Reading, colour: str, shown: str) -> None:
    assert reading.value is not None
    if reading.band is not None:
        low, high = reading.band
        axes.barh(y, high - low, left=low, height=0.62, color=BAND, zorder=0, linewidth=0)
    if reading.interval is not None:
        axes.plot(reading.interval, (y, y), color=colour, linewidth=1.6, zorder=2)
    axes.plot([reading.value], [y], "o", color=colour, markersize=5, zorder=3)
    axes.annotate(
        shown, (1.02, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=INK
    )


def _alt(metric: Metric, rows: Sequence[tuple[str, Reading]]) -> str:
    said = []
    for version, reading in rows:
        assert reading.value is not None
        band = pair(metric.name, reading.band)
        said.append(
            f"{NAMES[version]} {figure(metric.name, reading.value)}"
            + (f" (chance gives {band})" if band else "")
        )
    return f"{metric.title}: {'; '.join(said)}."

"""Losses of a training over its steps, and the validation by which networks were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from motet.report.figures.canvas import BATCHES, INK, Margins, drawn, soft_grid

Float = NDArray[np.float64]
Curve = tuple[Float, Float]
"""Steps, and what was found there."""
FEW = 25
"""Points up to which each has a mark."""
SPAN = 15.0
"""Largest over smallest, from which the axis is logarithmic."""
ROW = 0.16
"""Inches of a line of the legend."""


def losses(
    curves: Mapping[str, Curve], validation: Curve, *, title: str, kept: int | None, name: str
) -> Markup:
    """One line a loss, on a logarithmic axis where they are positive and far apart.

    Parameters
    ----------
    curves : mapping of str to (steps, values)
        Loss -> its means.
    validation : (steps, values)
        Empty where nobody validated.
    title : str
    kept : int, optional
        The step of the networks that were kept, marked on the validation.
    name : str
        Unique on the page.
    """
    shown = {loss: curve for loss, curve in curves.items() if len(curve[0])}
    if not shown and not len(validation[0]):
        return Markup()
    rows = (len(shown) + bool(len(validation[0])) + 1) // 2
    low = Margins(bottom=0.6 + ROW * rows)
    alt = _alt(title, shown, validation)
    with drawn(name, alt, height=2.3 + ROW * rows, margins=low) as canvas:
        axes = canvas.figure.add_subplot()
        soft_grid(axes, "both")
        for k, (loss, curve) in enumerate(shown.items()):
            _line(axes, curve, loss, color=BATCHES[k % len(BATCHES)])
        if len(validation[0]):
            _line(axes, validation, "validation", color=INK, linestyle=(0, (4, 2)))
            _mark(axes, validation, kept)
        _scale(axes, np.concatenate([values for _, values in (*shown.values(), validation)]))
        axes.set_xlim(left=0)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.set_ylabel("mean of a sample")
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.45, -0.26),
            ncols=2,
            handlelength=1.4,
            columnspacing=1.2,
        )
    return canvas.svg


def _scale(axes: Any, values: Float) -> None:
    """Logarithmic where values are positive and too far apart to be seen side by side."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if (values <= 0).any() or values.max() < SPAN * values.min():
        return
    axes.set_yscale("log")
    near = values.max() < SPAN**2 * values.min()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if near else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _line(axes: Any, curve: Curve, label: str, **style: Any) -> None:
    marker = "o" if len(curve[0]) <= FEW else ""
    axes.plot(*curve, label=label, marker=marker, markersize=2.6, linewidth=1.2, **style)


def _mark(axes: Any, validation: Curve, kept: int | None) -> None:
    """A ring around the validation of the networks that were kept."""
    if kept is not None:
        here = validation[0] == kept
        axes.plot(
            validation[0][here], validation[1][here], "o", color=INK, markersize=7, fillstyle="none"
        )


def _alt(title: str, shown: Mapping[str, Curve], validation: Curve) -> str:
    said = [
        f"{loss} from {values[0]:.3g} to {values[-1]:.3g}"
        for loss, (steps, values) in {**shown, "validation": validation}.items()
        if len(steps)
    ]
    return f"{title}, over steps: {'; '.join(said)}."

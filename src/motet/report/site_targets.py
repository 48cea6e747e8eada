"""One person of a site as every target would have them: pictures that stay there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from motet.report.site_images import PIXELS, grey, padded, plane, png
from motet.report.target_file import FILE, SPACING
from motet.store import read_arrays

Float = NDArray[np.float64]


def targets(folder: Path) -> tuple[tuple[str, Markup], ...]:
    """A picture a target, contrasts one below the other; empty where there is no such file."""
    if not (folder / FILE).is_file():
        return ()
    arrays = read_arrays(folder / FILE)
    spacing = arrays.pop(SPACING)
    found = []
    for name in sorted(arrays, key=lambda name: int(name.partition(".")[0])):
        said = name.partition(".")[2]
        pictures = [_painted(slices.astype(np.float64), spacing) for slices in arrays[name]]
        alt = f"One person's slices: {said}."
        found.append((said, png(np.vstack([padded(p, p.shape[1]) for p in pictures]), alt)))
    return tuple(found)


def _painted(pixels: Float, spacing: Float) -> NDArray[np.uint8]:
    """A slice in a window of its own: targets have intensities of their own."""
    shown = plane(pixels, spacing.tolist())
    # Voxels of some millimetres would be hard to see.
    times = max(1, PIXELS // max(shown.shape))
    shown = shown.repeat(times, axis=0).repeat(times, axis=1)
    top = float(np.nanquantile(pixels, 0.995))
    return grey(shown, 0.0, max(top, float(np.nextafter(0.0, 1.0))))

"""Tissues from intensities alone: the one segmenter that judges every method alike.

Three classes by k-means of the intensities within the mask. It is simple on purpose: it sees what
any later analysis of intensities sees, and is the same for raw, harmonized and true images.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

BINS = 1024
ITERATIONS = 200
DARK_TO_BRIGHT: Mapping[str, tuple[str, str, str]] = {
    "T1w": ("csf", "gm", "wm"),
    "T2w": ("wm", "gm", "csf"),
    "PDw": ("wm", "gm", "csf"),
    "FLAIR": ("csf", "wm", "gm"),
}
"""Order of the tissues' intensities by contrast; a contrast not named here is taken for T1w's."""

Float = NDArray[np.float64]


def order_of(contrast: str) -> tuple[str, str, str]:
    """The tissues from dark to bright."""
    return DARK_TO_BRIGHT.get(contrast, DARK_TO_BRIGHT["T1w"])


def boundaries(values: Float) -> Float:
    """The two intensities that part three classes of least squared distance to their means.

    Lloyd's k-means on a histogram of ``BINS`` bins between the 0.5 and 99.5 percent quantiles,
    begun at the 1/6, 3/6 and 5/6 quantiles: nothing is drawn, and a rescaled image gives rescaled
    boundaries.

    Parameters
    ----------
    values : (m,) float64
        Intensities within the mask.

    Returns
    -------
    (2,) float64
    """
    low, high = np.quantile(values, (0.005, 0.995))
    if not high > low:
        return np.array([low, high])
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    middles = (edges[:-1] + edges[1:]) / 2
    mass, moment = np.cumsum(counts), np.cumsum(counts * middles)
    centres = middles[np.searchsorted(mass, mass[-1] * np.array([1, 3, 5]) / 6)]
    if (np.diff(centres) == 0).any():  # one intensity fills a third of the brain
        centres = low + (high - low) * np.array([1, 3, 5]) / 6
    for _ in range(ITERATIONS):
        between = (centres[:-1] + centres[1:]) / 2
        ends = np.searchsorted(middles, between)
        # A boundary before the first bin has nothing below it.
        below, sums = np.where(ends > 0, (mass[ends - 1], moment[ends - 1]), 0)
        n = np.diff(below, prepend=0, append=mass[-1])
        s = np.diff(sums, prepend=0.0, append=moment[-1])
        moved = np.where(n > 0, s / np.maximum(n, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return np.asarray((centres[:-1] + centres[1:]) / 2)


def segment(values: Float) -> NDArray[np.uint8]:
    """Class of every intensity: 0, 1, 2 from dark to bright, (m,) uint8."""
    return np.searchsorted(boundaries(values), values).astype(np.uint8)


def overlap(
    one: NDArray[np.uint8], other: NDArray[np.uint8], *, order: tuple[str, str, str]
) -> dict[str, float]:
    """Dice of every tissue between two segmentations of the same voxels, (m,) uint8 each."""
    found = {}
    for k, tissue in enumerate(order):
        both = int((one == k).sum() + (other == k).sum())
        found[tissue] = 2 * int(((one == k) & (other == k)).sum()) / both if both else 1.0
    return found

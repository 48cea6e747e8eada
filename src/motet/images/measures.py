"""What an image comes to in a row of numbers: intensities and volumes of tissues.

A study of images is judged by these as a study of tables is by its features: site effect, biology,
fidelity. They are features of the image as it is, so a harmonized image has its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from motet.images.tissues import order_of, segment

QUANTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
"""Percent, of the intensities within the mask: the histogram in a form that needs no range."""

DIGITS = 6
TISSUES = ("csf", "gm", "wm")
Float = NDArray[np.float64]


def names(*contrasts: str) -> tuple[str, ...]:
    """The measures of a person's images, by name; they begin with the contrast, one by one."""
    found = [f"q{q:02d}" for q in QUANTILES]
    for tissue in TISSUES:
        found += [f"{tissue}_median", f"{tissue}_spread", f"{tissue}_volume"]
    return tuple(f"{contrast}_{name}" for contrast in contrasts for name in found)


EACH = len(names(""))
"""Measures of an image."""


def meaning(name: str) -> str:
    """What a measure is, in words."""
    what = name.rsplit("_", 2)[-2:]
    if what[-1].startswith("q") and what[-1][1:].isdigit():
        return f"Quantile of the intensities within the brain mask, {int(what[-1][1:])} per cent."
    of = f"{what[0].upper()} (three-class k-means within the brain mask)"
    return {
        "median": f"Median intensity of {of}.",
        "spread": f"Interquartile range of the intensities of {of}.",
        "volume": f"Volume of {of}.",
    }.get(what[-1], "")


def contrasts_of(features: Sequence[str]) -> tuple[str, ...]:
    """The contrasts whose measures these are, in order; none where they are other features."""
    first = f"_q{QUANTILES[0]:02d}"
    begins = features[::EACH]
    if not all(name.endswith(first) for name in begins):
        return ()
    contrasts = tuple(name.removesuffix(first) for name in begins)
    return contrasts if tuple(features) == names(*contrasts) else ()


def units(*contrasts: str) -> tuple[str, ...]:
    """Their units; intensities have none of their own."""
    return tuple("ml" if name.endswith("volume") else "" for name in names(*contrasts))


def measures(values: Float, *, contrast: str, voxel: float) -> Float:
    """The measures of one image.

    Parameters
    ----------
    values : (m,) float64
        Intensities within the mask.
    contrast : str
    voxel : float
        Volume of a voxel, mm³.

    Returns
    -------
    (p,) float64
        Quantiles; then for CSF, GM and WM the median, the interquartile range, and the volume in
        ml. NaN for the intensities of a tissue that the image does not show.
    """
    classes = segment(values)
    place = {tissue: k for k, tissue in enumerate(order_of(contrast))}
    found = np.quantile(values, np.array(QUANTILES) / 100).tolist()
    for tissue in TISSUES:
        own = values[classes == place[tissue]]
        if len(own):
            low, middle, high = np.quantile(own, (0.25, 0.5, 0.75))
            found += [middle, high - low]
        else:
            found += [np.nan, np.nan]
        found.append(len(own) * voxel / 1000.0)
    return digits(np.array(found))


def digits(values: Float) -> Float:
    """Values to ``DIGITS`` significant digits.

    Images are written in single precision: what is left of a quantile beyond it is rounding, and
    where a method makes a quantile equal in everybody, rounding must not look like a difference.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** (DIGITS - 1 - np.where(np.isfinite(exponent), exponent, 0.0))
    return np.asarray(np.round(values * scale) / scale)

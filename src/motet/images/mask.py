"""The brain of an image: its mask file, or a documented threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from motet.bids.checks import Place
from motet.images.volume import Volume, read_labels

RULE = "intensity above the mean of the image, largest part, holes filled"
"""What stands in a sidecar where there was no mask file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """Which voxels are brain, and who says so.

    Attributes
    ----------
    inside : (x, y, z) bool
        Canonical axes.
    source : Path or None
        The mask's file; None where it is :func:`foreground`.
    """

    inside: NDArray[np.bool_]
    source: Path | None


def mask_of(volume: Volume, file: Path | None, *, place: Place) -> Mask:
    """The mask of an image.

    Parameters
    ----------
    volume : Volume
    file : Path or None
        Its mask, or label map: what is not 0 is inside. None: :func:`foreground`.
    place : Place
        For errors.

    Raises
    ------
    DataError
        When the mask lies on another grid, or is empty.
    """
    if file is None:
        inside = foreground(volume.data)
    else:
        place = Place(site=place.site, file=file)
        inside = read_labels(file, like=volume.grid, place=place) != 0
    if not inside.any():
        raise place.error("The mask is empty.", do="Look at it beside its image, and mend it.")
    return Mask(inside=inside, source=file)


def foreground(data: NDArray[Any]) -> NDArray[np.bool_]:
    """Voxels brighter than the mean of the image, largest connected part, holes filled.

    The threshold is that of RAVEL and White Stripe for images without a mask (Fortin et al. 2016).
    It finds the head, not the brain, where the skull was not taken off.
    """
    above = data > data.mean(dtype=np.float64)
    parts, number = ndimage.label(above)
    if number == 0:
        return np.asarray(above)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(parts == sizes.argmax()))

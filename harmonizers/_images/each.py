"""Going through a site's images, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.images.images import Image, Images
from motet.site import Site

Float = NDArray[np.float64]
Rows = Iterator[tuple[slice, NDArray[Any]]]


def each(images: Images, change: Callable[[int, Image], Float]) -> Rows:
    """Yield every image as `change` makes it: (row as a slice, (1, x, y, z) float64)."""
    for row in range(len(images)):
        yield slice(row, row + 1), change(row, images.image(row))[None]


def warn_of_one(site: Site) -> None:
    """Say where a batch's own effect is that of one person."""
    for batch in site.batches:
        if len(set(site.data.of_batch(batch).people.tolist())) == 1:
            site.warn(
                f"Batch '{batch}' has one person: what is particular to this person counts as the "
                "scanner's effect."
            )


STRAY = 1e-3
"""Share of the voxels outside of the mask that may not be 0 in an image without a skull."""


def stripped(image: Image) -> bool:
    """Whether the skull was taken off: nothing, but for a stray voxel, outside of the mask."""
    outside = image.data[~image.mask]
    return bool(np.count_nonzero(outside) <= STRAY * outside.size)


def rescaled(image: Image, centre: float, scale: float) -> Float:
    """``(intensity - centre) / scale``, (x, y, z) float64.

    The whole image is one linear map away from what it was. Where the skull was taken off, what
    lies outside of the mask is no intensity, and stays.
    """
    if stripped(image):
        return image.with_brain((image.brain - centre) / scale)
    return np.asarray((image.data.astype(np.float64) - centre) / scale)

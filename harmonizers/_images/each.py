"""Going through a site's images, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.images.images import Image, Images

Float = NDArray[np.float64]
Rows = Iterator[tuple[slice, NDArray[Any]]]


def each(images: Images, change: Callable[[int, Image], Float]) -> Rows:
    """Yield every image as `change` makes it: (row as a slice, (1, x, y, z) float64)."""
    for row in range(len(images)):
        yield slice(row, row + 1), change(row, images.image(row))[None]


def rescaled(image: Image, centre: float, scale: float) -> Float:
    """``(intensity - centre) / scale``, (x, y, z) float64.

    The whole image is one linear map away from what it was. Where the skull was taken off, what
    lies outside of the mask is no intensity, and stays 0.
    """
    if not image.data[~image.mask].any():
        return image.with_brain((image.brain - centre) / scale)
    return np.asarray((image.data.astype(np.float64) - centre) / scale)

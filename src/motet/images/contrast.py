"""Whether an image looks like the contrast that it is called."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from motet.bids.checks import Place
from motet.images.images import Image

BRIGHT_INSIDE: Mapping[str, bool] = {"T1w": True, "T2w": False, "PDw": False}
"""Whether the depth of the brain, white matter for the most part, is brighter than its rim of
cortex and CSF. Other contrasts are not judged."""

SURE = 0.08
"""How far apart the two have to be, a share of their mean, before an image is refused."""


def depth_contrast(image: Image) -> float:
    """How much brighter the depth of a brain is than its rim, a share of their mean.

    The rim is the outer fifth of the voxels within the mask by their distance from outside, the
    depth the third to the inner tenth: between cortex and ventricles.
    """
    distance = ndimage.distance_transform_edt(
        image.mask, sampling=image.volume.grid.canonical.spacing
    )
    inside: NDArray[np.float64] = distance[image.mask]
    rim, low, high = np.quantile(inside, (0.2, 0.6, 0.9))
    values = image.brain
    outer = float(np.median(values[inside <= rim]))
    inner = float(np.median(values[(inside >= low) & (inside <= high)]))
    middle = (abs(outer) + abs(inner)) / 2
    return (inner - outer) / middle if middle > 0 else 0.0


def check_contrast(image: Image, contrast: str, *, place: Place) -> None:
    """Refuse an image whose depth and rim are the other way round than in its contrast.

    Raises
    ------
    DataError
        Names the file.
    """
    bright = BRIGHT_INSIDE.get(contrast)
    if bright is None:
        return
    found = depth_contrast(image)
    if (found < -SURE) if bright else (found > SURE):
        raise place.error(
            f"This does not look like a {contrast} image: the depth of the brain is "
            f"{'darker' if bright else 'brighter'} than its rim.",
            do="Check that the file holds the contrast of its name, and that the mask is its own.",
        )

"""The white stripe, about the intensity of voxels that are white matter all around.

The published estimator smooths the histogram of the whole brain and takes its last peak (T1w) or
its largest (T2w, FLAIR). At coarse resolution few voxels are one tissue alone, and the mixed ones
pull that peak towards grey matter, by more than one standard deviation of the stripe; and grey
matter, of which there is as much, is often the larger peak. Both go away when the histogram is
taken of white-matter voxels in a neighbourhood of white matter. See docs/decisions/0012.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from motet.bids.checks import Place
from motet.images.images import Image
from motet.images.tissues import boundaries, order_of

NEIGHBOURS = 0.85
"""A voxel counts whose 3 x 3 x 3 neighbourhood is white matter to this share: 23 of 27."""

CERTAIN = 0.9
"""The same, 25 of 27, for those that the search begins with."""

AROUND = 5
"""Edge of the cube, voxels, whose white matter is a voxel's local level."""

DEVIATIONS = 3.29
"""How far from its local level white matter lies, standard deviations: 999 voxels of 1,000."""

TURNS = 2

KERNEL = 2.0
"""Width of the kernel that the peak is smoothed with, in standard deviations of the peak. A wider
one lets in what is no white matter; a narrower one follows chance, and the lean of the peak."""

FEWEST = 200
Float = NDArray[np.float64]


def white_matter_mode(image: Image, contrast: str) -> float:
    """Intensity of white matter.

    Parameters
    ----------
    image : Image
    contrast : str
        Says where white matter lies among the tissues, from dark to bright.
    """
    return peak(white_matter(image, contrast))


def white_matter(image: Image, contrast: str) -> Float:
    """Intensities of voxels that are white matter, as far as can be told, and nothing else.

    White matter varies over the brain, slowly beside a voxel. Neighbours that were compared with
    the tissues' boundaries alone would be fewer where it varies towards grey matter, and the mode
    would lie on the other side, the more the closer the tissues (FLAIR). So they are compared with
    the level of the white matter around them.

    Parameters
    ----------
    image : Image
    contrast : str

    Returns
    -------
    (m,) float64
    """
    box = ndimage.find_objects(image.mask.astype(np.uint8))[0]
    mask, data = image.mask[box], image.data[box].astype(np.float32)
    k = order_of(contrast).index("wm")
    low, high = np.concatenate([[-np.inf], boundaries(image.brain), [np.inf]])[k : k + 2]
    tissue = mask & (data > low) & (data <= high)
    chosen = tissue & (_mean(tissue, 3) > CERTAIN)
    for _ in range(TURNS):
        if chosen.sum() < FEWEST:
            break
        near = _mean(chosen, AROUND)
        level = _mean(np.where(chosen, data, 0), AROUND) / np.maximum(near, 0.5 / AROUND**3)
        apart = data - level
        alike = mask & (near > 0.5 / AROUND**3)
        alike &= np.abs(apart) <= DEVIATIONS * _spread(apart[chosen])
        again = alike & (_mean(alike, 3) > NEIGHBOURS)
        if again.sum() < FEWEST:
            break
        chosen = again
    found = chosen if chosen.sum() >= FEWEST else tissue if tissue.any() else mask
    return np.asarray(data[found], dtype=np.float64)


def _mean(values: NDArray[np.generic], edge: int) -> NDArray[np.float32]:
    """Mean over the cube around each voxel; nothing lies beyond the image."""
    found = ndimage.uniform_filter(values.astype(np.float32), edge, mode="constant")
    return np.asarray(found)


def _spread(values: NDArray[np.floating]) -> float:
    """Standard deviation, of a normal sample, that stray values do not move."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def peak(values: Float) -> float:
    """Mode of a sample with one peak: of its density, smoothed with a normal kernel.

    The kernel's mean about the mode is the mode (mean shift), so nothing is cut into bins.

    Parameters
    ----------
    values : (m,) float64
    """
    middle, width = float(np.median(values)), KERNEL * _spread(values)
    if width == 0:
        return middle
    for _ in range(100):
        weight = np.exp(-0.5 * ((values - middle) / width) ** 2)
        before, middle = middle, float(weight @ values / weight.sum())
        if abs(middle - before) < 1e-6 * width:
            break
    return middle


def stripe(image: Image, contrast: str, width: float) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of the white stripe.

    The stripe is what lies between the quantiles ``q - width`` and ``q + width`` of the brain, q
    being the share of the brain that is darker than the mode of white matter.

    Where the stripe holds one intensity (images of few grey levels), what is brighter than the
    brain's mean stands for it, as published.

    Raises
    ------
    DataError
        When that holds one intensity, too.
    """
    brain = image.brain
    q = float((brain < white_matter_mode(image, contrast)).mean())
    low, high = np.quantile(brain, (max(0.0, q - width), min(1.0, q + width)))
    inside = brain[(brain > low) & (brain < high)]
    if len(inside) < 2 or inside.min() == inside.max():
        inside = brain[brain > brain.mean()]
    if len(inside) < 2 or inside.min() == inside.max():
        raise Place(file=image.volume.file).error(
            "The white stripe of the image holds one intensity.",
            do="Look at the image and its mask.",
        )
    return float(inside.mean()), float(inside.std(ddof=1))

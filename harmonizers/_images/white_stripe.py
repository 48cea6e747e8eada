"""The white stripe, about the mode of voxels that are white matter all around.

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

BINS = 1024
SMOOTH = 20.0
"""Width of the kernel (sd), bins: 2 % of the range of white matter."""

NEIGHBOURS = 0.9
"""A voxel counts whose 3 x 3 x 3 neighbourhood is white matter to this share: 25 of 27."""

TOP = 0.3
"""The peak is a parabola fitted to the log density where it is above this share of its height."""

FEWEST = 200
Float = NDArray[np.float64]


def white_matter_mode(image: Image, contrast: str) -> float:
    """Most frequent intensity of white matter.

    Parameters
    ----------
    image : Image
    contrast : str
        Says where white matter lies among the tissues, from dark to bright.
    """
    brain = image.brain
    k = order_of(contrast).index("wm")
    edges = np.concatenate([[-np.inf], boundaries(brain), [np.inf]])
    data = image.data
    tissue = image.mask & (data > edges[k]) & (data <= edges[k + 1])
    share = ndimage.uniform_filter(tissue.astype(np.float32), 3, mode="constant")
    inner = tissue & (share > NEIGHBOURS)
    chosen = inner if inner.sum() >= FEWEST else tissue if tissue.any() else image.mask
    return peak(data[chosen].astype(np.float64))


def peak(values: Float) -> float:
    """Mode of a sample with one peak.

    Parameters
    ----------
    values : (m,) float64
    """
    low, high = np.quantile(values, (0.001, 0.999))
    if not high > low:
        return float(low)
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    density = ndimage.gaussian_filter1d(counts.astype(np.float64), SMOOTH, mode="constant")
    middles = (edges[:-1] + edges[1:]) / 2
    top = int(density.argmax())
    above = density >= TOP * density[top]
    first = top - int(np.argmin(above[top::-1])) + 1 if not above[: top + 1].all() else 0
    last = top + int(np.argmin(above[top:])) if not above[top:].all() else BINS
    x, y = middles[first:last] - middles[top], np.log(density[first:last])
    reach = float(np.abs(x).max())
    if len(x) < 5 or reach == 0:
        return float(middles[top])
    square, slope, _ = np.polyfit(x / reach, y, 2, w=np.sqrt(density[first:last]))
    if square >= 0:
        return float(middles[top])
    moved = float(np.clip(-slope / (2 * square), -1.0, 1.0)) * reach
    return float(middles[top] + moved)


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

"""Fine detail: what the decoder's own image lacks of a scan is put back into the one it makes.

An anatomy code of a few channels loses detail. A decoder that sees the scan's detail beside the
code reads contrast off it, above all how deep grey matter lies to what is around, and brings that
along to every target (``docs/decisions/0024-calamiti.md``). So the networks never see it: the scan
is decoded a second time, in its own style, and what that image lacks goes back, without what is
smooth in it, and without what does not stand out from noise (Wiener's filter with local means and
variances, Lim 1990, section 9.2; how much noise: Immerkær 1996, CVIU 64:300, of a quartile). An
edge is as strong there as the target shows it: how the one decoded image changes with the other
around a voxel says how (the local linear model of the guided filter, He et al. 2013, IEEE TPAMI
35:1397, equations 4 to 6, with Gaussian windows).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from motet.harmonizers._images.smooth import smoothed
from motet.harmonizers.calamiti.sizes import LEAST, WHITE

Float = NDArray[np.float64]

SMOOTH = 16.0
"""Standard deviation, mm, of the Gaussian whose weighted mean is what is smooth."""
WIDE = 32.0
"""The same of that within which lines are fitted."""
NEAR = 0.7
"""The same, in voxels, of that within which detail is to stand out from noise."""
LAPLACIANS = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6.0
"""What is left of an image but noise, whose standard deviation it keeps (Immerkær 1996, eq. 1)."""
FLAT = (0.02 * WHITE) ** 2
"""Variance of a decoded image below which it says nothing of an edge: detail then keeps its size
relative to the image."""
MOST = 3.0
"""A scan that is larger than this many times its decoded image, or smaller by as much, counts as
this: there the code is wrong, and not short of detail."""


def with_detail(
    made: Float,
    own: Float,
    scan: Float,
    inside: NDArray[np.bool_],
    *,
    share: float,
    edges: Sequence[float],
) -> Float:
    """An image in a target's style with a share of the scan's fine detail.

    ``made + share a wiener(own (r - smooth(r)))``, where ``r = scan / own`` and ``a`` is the slope
    of the line that tells `made` of `own` around a voxel.

    Parameters
    ----------
    made, own : (x, y, z) float64
        The scan decoded in the target's style, and in its own.
    scan : (x, y, z) float64
        In the same units.
    inside : (x, y, z) bool
    share : float
        0: `made` as it is.
    edges : sequence of float
        Of a voxel, mm.

    Returns
    -------
    (x, y, z) float64
        0 beside the brain.
    """
    # Relative to the image, so that a gain that the own style missed is smooth, and stays behind.
    ratio = np.clip(scan / np.maximum(own, LEAST), 1.0 / MOST, MOST)
    smooth = smoothed(ratio, inside, [SMOOTH / edge for edge in edges])
    lacks = above_noise(own * (ratio - smooth), inside)
    sd = [WIDE / edge for edge in edges]

    def around(values: Float) -> Float:
        return smoothed(values, inside, sd)

    of_own, of_made = around(own), around(made)
    apart = own - of_own
    in_common = around(apart * (made - of_made)) + FLAT * of_made / np.maximum(of_own, LEAST)
    slope = in_common / (around(apart * apart) + FLAT)
    return np.where(inside, made + share * slope * lacks, 0.0)


def above_noise(detail: Float, inside: NDArray[np.bool_]) -> Float:
    """Detail as far as it stands out from noise: in flat places little of it, at edges all.

    ``scipy.signal.wiener`` does the same without a mask: it takes the step at the brain's border
    for an edge.

    Parameters
    ----------
    detail : (x, y, z) float64
    inside : (x, y, z) bool
    """
    sd = [NEAR] * 3
    mean = smoothed(detail, inside, sd)
    variance = smoothed(detail * detail, inside, sd) - mean * mean
    noise = noise_of(detail, inside) ** 2
    kept = np.maximum(variance - noise, 0.0) / np.maximum(variance, np.finfo(np.float64).tiny)
    return np.where(inside, mean + kept * (detail - mean), 0.0)


def noise_of(image: Float, inside: NDArray[np.bool_]) -> float:
    """Standard deviation of the noise of an image, from its axial slices; 0 where none is told."""
    left = ndimage.convolve(image, LAPLACIANS[..., None])
    whole = ndimage.binary_erosion(inside, np.ones((3, 3, 1)))
    # The lower quartile of sizes, so that edges do not count; 0.3186 is that of a normal's.
    return float(np.quantile(np.abs(left[whole]), 0.25) / 0.3186) if whole.any() else 0.0

"""Fine detail: what the decoder's own image lacks of a scan is put back into the one it makes.

An anatomy code of a few channels loses detail. A decoder that sees the scan's detail beside the
code reads contrast off it, above all how deep grey matter lies to what is around, and brings that
along to every target (``docs/decisions/0024-calamiti.md``). So the networks never see it: the scan
is decoded a second time, in its own style, and what that image lacks goes back, without what is
smooth in it. An edge is as strong there as the target shows it: how the one decoded image changes
with the other around a voxel says how (the local linear model of the guided filter, He et al.
2013, IEEE TPAMI 35:1397, equations 4 to 6, with Gaussian windows).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers._images.smooth import smoothed
from motet.harmonizers.calamiti.sizes import LEAST, WHITE

Float = NDArray[np.float64]

SMOOTH = 16.0
"""Standard deviation, mm, of the Gaussian within which lines are fitted, and of that whose weighted
mean is what is smooth."""
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

    ``made + share a own (r - smooth(r))``, where ``r = scan / own`` and ``a`` is the slope of the
    line that tells `made` of `own` around a voxel.

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
    sd = [SMOOTH / edge for edge in edges]

    def around(values: Float) -> Float:
        return smoothed(values, inside, sd)

    # Relative to the image, so that a gain that the own style missed is smooth, and stays behind.
    ratio = np.clip(scan / np.maximum(own, LEAST), 1.0 / MOST, MOST)
    lacks = own * (ratio - around(ratio))
    of_own, of_made = around(own), around(made)
    apart = own - of_own
    in_common = around(apart * (made - of_made)) + FLAT * of_made / np.maximum(of_own, LEAST)
    slope = in_common / (around(apart * apart) + FLAT)
    return np.where(inside, made + share * slope * lacks, 0.0)

"""Fine detail: what the decoder's own image lacks of a scan is put back into the one it makes.

An anatomy code of a few channels loses detail. A decoder that sees the scan's detail beside the
code reads contrast off it, above all how deep grey matter lies to what is around, and brings that
along to every target (``docs/decisions/0024-calamiti.md``). So the networks never see it: the scan
is decoded a second time, in its own style, and what that image lacks goes back as a relative
difference, without what is smooth in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers._images.smooth import smoothed
from motet.harmonizers.calamiti.sizes import LEAST

Float = NDArray[np.float64]

SMOOTH = 16.0
"""Standard deviation, mm, of the Gaussian whose weighted mean is what is smooth."""
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

    ``made (1 + share (r - smooth(r)))``, where ``r = scan / own``.

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
    ratio = np.clip(scan / np.maximum(own, LEAST), 1.0 / MOST, MOST)
    smooth = smoothed(ratio, inside, [SMOOTH / edge for edge in edges])
    return np.where(inside, made * (1.0 + share * (ratio - smooth)), 0.0)

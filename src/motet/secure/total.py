"""The coordinator's side of a secure sum: it adds what it cannot read, and takes masks off."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import SecureSumError
from motet.secure import shamir
from motet.secure.circle import Circle
from motet.secure.keys import commitment
from motet.secure.masks import add
from motet.secure.party import Masked, Revealed

TRIES = 1000
"""Sets of shares that are tried where some are wrong."""


def total(
    circle: Circle, masked: Mapping[str, Masked], revealed: Mapping[str, Revealed]
) -> tuple[NDArray[Any], ...]:
    """The sum over the sites whose arrays arrived, modulo 2^32 or 2^64.

    Parameters
    ----------
    circle : Circle
    masked : mapping of str to Masked
        Of survivors.
    revealed : mapping of str to Revealed
        What survivors said of that: as many as the threshold asks for, or more.

    Raises
    ------
    SecureSumError
        When too few are left, or too many of their shares are of no mask.
    """
    dropped = circle.dropped(masked)
    if len(revealed) < circle.threshold:
        raise SecureSumError(
            f"{len(revealed)} of {len(circle.members)} sites helped to take masks off; "
            f"{circle.threshold} are needed."
        )
    names = sorted(masked)
    sums = tuple(np.array(values) for values in masked[names[0]].arrays)
    for name in names[1:]:
        for so_far, values in zip(sums, masked[name].arrays, strict=True):
            so_far += values
    for name in names:
        committed = masked[name].committed
        own = {site: said.own.get(name, b"") for site, said in revealed.items()}
        add(sums, _joined(circle, own, committed[name]), sign=-1)
        for other in dropped:
            pair = {site: said.pairs.get((name, other), b"") for site, said in revealed.items()}
            seed = _joined(circle, pair, committed[other])
            add(sums, seed, sign=-circle.sign(name, other))
    return sums


def _joined(circle: Circle, shares: Mapping[str, bytes], committed: bytes) -> bytes:
    """The seed of which enough of these are shares; some may be wrong.

    First without anybody's being left out, then without each one, each two, and so on: few sites
    send wrong shares.
    """
    points = {circle.point(site): share for site, share in shares.items() if share}
    spare = len(points) - circle.threshold
    without = (left for k in range(spare + 1) for left in combinations(sorted(points), k))
    for left in islice(without, TRIES):
        some = [x for x in sorted(points) if x not in left][: circle.threshold]
        try:
            seed = shamir.join({x: points[x] for x in some}, circle.threshold)
        except ValueError:
            continue
        if commitment(seed) == committed:
            return seed
    raise SecureSumError("Shares of a mask do not fit together: sites sent others.")

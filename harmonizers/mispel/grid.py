"""Which pixels sites compare: every `stride`-th, from a corner that moves with every exchange.

On a grid that stays, the pixels between would never be compared, and units need not make them
alike. Here each of the ``stride ** 2`` corners of a slice has its turn, in a drawn order: over as
many exchanges the losses are those of all pixels. At one time slices begin at different corners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motet.site import draw

if TYPE_CHECKING:
    from torch import Tensor


def corners(
    people: NDArray[Any], parts: NDArray[np.intp], *, stride: int, seed: int, turn: int
) -> NDArray[np.int64]:
    """First row and column of every slice's grid: the same at all sites.

    Parameters
    ----------
    people : (n,) str
        By the key that sites have in common.
    parts : (n,) int
        Number of the slice.
    stride : int
        Pixels between those that are compared.
    seed : int
    turn : int
        Exchanges before this one.

    Returns
    -------
    (n, 2) int64
        From 0 to ``stride - 1``.
    """
    count = stride**2
    passes, place = divmod(turn, count)
    found = np.zeros((len(people), 2), dtype=np.int64)
    for person in dict.fromkeys(people.tolist()):
        order = draw(seed, "corners", person, passes).permutation(count)
        rows = people == person
        at = order[(parts[rows] + place) % count]
        found[rows] = np.stack(np.divmod(at, stride), axis=1)
    return found


def seen(maps: Tensor, corner: Tensor, stride: int) -> Tensor:
    """Pixels of the grids, (B, …, ceil(h / stride), ceil(w / stride)).

    A grid that comes out beyond an edge goes on at the other.

    Parameters
    ----------
    maps : (B, …, h, w) Tensor
    corner : (B, 2) Tensor
    stride : int
    """
    import torch

    if stride == 1:
        return maps
    turned = [
        of_slice.roll((-row, -column), dims=(-2, -1))[..., ::stride, ::stride]
        for of_slice, (row, column) in zip(maps, corner.tolist(), strict=True)
    ]
    return torch.stack(turned)

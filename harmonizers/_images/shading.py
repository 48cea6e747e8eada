"""Smooth gains of images, as receive coils leave them: taken out, and put in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as nnf

from motet.harmonizers._images.norms import EPS


def evened(x: Tensor, brain: Tensor, window: int, *, least: float) -> Tensor:
    """Relative differences from the mean around, with variance 1 over the brain; 0 beside it.

    A smooth gain cancels.

    Parameters
    ----------
    x : (B, C, h, w)
        0 where there is no signal.
    brain : (B, 1, h, w)
    window : int
        Edge of the square around, pixels, odd; averaged twice.
    least : float
        A mean around counts as no smaller than this.
    """

    def around(values: Tensor) -> Tensor:
        # Rows, then columns: of a window of 25 pixels, 50 are read for each instead of 625.
        for edges, by in (((window, 1), (window // 2, 0)), ((1, window), (0, window // 2))) * 2:
            values = nnf.avg_pool2d(values, edges, stride=1, padding=by)
        return values

    mean = around(x * brain) / around(brain).clamp_min(1e-3)
    apart = (x - mean) / mean.clamp_min(least) * brain
    count = brain.sum(dim=(2, 3), keepdim=True).clamp_min(1.0)
    return apart * torch.rsqrt(apart.square().sum(dim=(2, 3), keepdim=True) / count + EPS)


def spread(field: Tensor, size: Sequence[int]) -> Tensor:
    """A coarse field, (B, 1, k, k), at every pixel of images of `size`: (B, 1, h, w)."""
    return nnf.interpolate(field, size=list(size), mode="bicubic", align_corners=True)

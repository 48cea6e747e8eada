"""The 3-D network that makes one volume of those of several planes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from motet.harmonizers.calamiti.layers import SLOPE


class Fused(nn.Module):
    """Convolution of 3 x 3 x 3, instance norm that is not affine, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, x, y, z) -> (B, outputs, x, y, z)."""
        return nnf.leaky_relu(nnf.instance_norm(self.conv(x)), SLOPE)


class FusionNetwork(nn.Module):
    """Features of the planes' volumes, then a volume of these and of what they were made of.

    Parameters
    ----------
    planes : int
    widths : sequence of int
        Channels of its convolutions; the one that joins has as many as the last.
    adds : bool
        Whether it adds to the median of the planes, and begins with nothing: of a short training
        comes no less than the median.
    """

    def __init__(self, planes: int, widths: Sequence[int], *, adds: bool) -> None:
        super().__init__()
        self.adds = adds
        pairs = zip([planes, *widths], widths, strict=False)
        self.features = nn.Sequential(*(Fused(a, b) for a, b in pairs))
        self.joined = Fused(widths[-1] + planes, widths[-1])
        self.last = nn.Conv3d(widths[-1], 1, 3, padding=1)
        if adds:
            nn.init.zeros_(self.last.weight)
            assert self.last.bias is not None
            nn.init.zeros_(self.last.bias)

    def forward(self, made: Tensor) -> Tensor:
        """(B, planes, x, y, z) -> (B, x, y, z)."""
        both = torch.cat([self.features(made), made], dim=1)
        found = self.last(self.joined(both))[:, 0]
        return nnf.relu(found + median(made) if self.adds else found)


def median(made: Tensor) -> Tensor:
    """Voxel-wise median over planes, (B, planes, x, y, z) -> (B, x, y, z)."""
    ordered = made.sort(dim=1).values
    count = made.shape[1]
    found: Tensor = (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2
    return found


class Fusing(nn.Module):
    """The group ``fusion``, as a training sees it."""

    def __init__(self, planes: int, widths: Sequence[int], *, adds: bool) -> None:
        super().__init__()
        self.fusion = FusionNetwork(planes, widths, adds=adds)

    def forward(self, made: Tensor) -> Tensor:
        """(B, planes, x, y, z) -> (B, x, y, z)."""
        found: Tensor = self.fusion(made)
        return found

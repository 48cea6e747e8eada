"""MISPEL as its equations say it, in plain torch: all scans in one place, one graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as nnf

WIDTHS, MAPS = (2, 2, 3), 2


def unit(vector: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Embedding (B, maps, h, w) and image (B, h, w) of slices (B, h, w), from a flat unit."""
    a, b, c = WIDTHS
    at = 0

    def conv(inputs: int, outputs: int, x: Tensor) -> Tensor:
        nonlocal at
        size = outputs * inputs * 9
        weight = vector[at : at + size].view(outputs, inputs, 3, 3)
        bias = vector[at + size : at + size + outputs]
        at += size + outputs
        return nnf.conv2d(x, weight, bias, padding=1)

    def act(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.3 * x)

    # In the order in which a unit's parameters lie: down, the two enlargements, back, the last.
    shapes = [(1, a), (a, a), (a, b), (b, b), (b, c), (c, c), (c, b), (b, a)]
    shapes += [(2 * b, b), (b, b), (2 * a, a), (a, a), (a, MAPS)]
    starts, total = [], 0
    for i, o in shapes:
        starts.append(total)
        total += 9 * i * o + o

    def layer(k: int, x: Tensor) -> Tensor:
        nonlocal at
        at = starts[k]
        return conv(*shapes[k], x)

    def larger(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    one = act(layer(1, act(layer(0, x[:, None]))))
    two = act(layer(3, act(layer(2, nnf.max_pool2d(one, 2)))))
    three = act(layer(5, act(layer(4, nnf.max_pool2d(two, 2)))))
    two = act(layer(9, act(layer(8, torch.cat([two, layer(6, larger(three))], 1)))))
    one = act(layer(11, act(layer(10, torch.cat([one, layer(7, larger(two))], 1)))))
    z = act(layer(12, one))
    weights = vector[total : total + MAPS]
    return z, torch.relu(sum(w * z[:, k] for k, w in enumerate(weights)))  # type: ignore[arg-type]


def recon(x: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """Equation 3."""
    return sum((a - b).abs().mean() for a, b in zip(x, made, strict=True))  # type: ignore[return-value]


def picked(maps: Tensor, stride: int, corner: Sequence[Sequence[int]] | None) -> Tensor:
    """Every `stride`-th pixel from each slice's corner on, pixel by pixel; edges are joined."""
    if corner is None:
        return maps
    h, w = maps.shape[-2:]
    found = []
    for of_slice, (row, column) in zip(maps, corner, strict=True):
        rows = [(row + k) % h for k in range(0, h, stride)]
        columns = [(column + k) % w for k in range(0, w, stride)]
        found.append(torch.stack([of_slice[..., r, columns] for r in rows], dim=-2))
    return torch.stack(found)


def coupling(
    z: Sequence[Tensor], stride: int = 1, corner: Sequence[Sequence[int]] | None = None
) -> Tensor:
    """Equation 4: the variance over scanners, its mean over maps and pixels."""
    every = torch.stack([picked(one, stride, corner) for one in z])
    return every.var(dim=0, correction=0).mean()


def harmonization(made: Sequence[Tensor]) -> Tensor:
    """Equation 6: the mean over pairs of scanners."""
    m = len(made)
    pairs = [(made[i] - made[j]).abs().mean() for i in range(m) for j in range(i)]
    return 2.0 / (m * (m - 1)) * sum(pairs)  # type: ignore[return-value]


def surrogate(
    made: Sequence[Tensor], stride: int = 1, corner: Sequence[Sequence[int]] | None = None
) -> Tensor:
    """Distance from the mean image, which is a function of all images."""
    every = torch.stack([picked(one, stride, corner) for one in made])
    return (every - every.mean(dim=0)).abs().mean(dim=(1, 2, 3)).sum() / (len(made) - 1)

"""Random curves of intensity: other contrasts of the same anatomy."""

from __future__ import annotations

import torch
from torch import Tensor

from motet.harmonizers.calamiti.sizes import KNOTS, TOP


def curved(x: Tensor, u: Tensor) -> Tensor:
    """``TOP (x / TOP)^gamma`` with gamma from 0.5 to 1.5, a monotone curve a sample.

    Parameters
    ----------
    x : (B, 1, h, w)
    u : (B, 1)
        Uniform draws.
    """
    gamma = (0.5 + u).view(-1, 1, 1, 1)
    return TOP * (x.clamp_min(0.0) / TOP + 1e-6) ** gamma * (x > 0)


def wandering(x: Tensor, offsets: Tensor) -> Tensor:
    """A piecewise linear curve a sample, through ``knot + offset * TOP``; it may rise or fall.

    Parameters
    ----------
    x : (B, 1, h, w)
    offsets : (B, KNOTS)
        Of the values at 0, …, TOP, in units of TOP; the first is not used: 0 stays 0.
    """
    steps = KNOTS - 1
    at = (x / TOP * steps).clamp(0.0, steps)
    low = at.detach().floor().clamp_max(steps - 1)
    share = at - low
    knots = torch.linspace(0.0, 1.0, KNOTS, dtype=x.dtype, device=x.device) + offsets
    knots = torch.cat([torch.zeros_like(knots[:, :1]), knots[:, 1:].clamp_min(0.0)], dim=1)
    index = low.flatten(1).to(torch.int64)
    below, above = knots.gather(1, index), knots.gather(1, index + 1)
    found = (below.view_as(x) * (1.0 - share) + above.view_as(x) * share) * TOP
    return found * (x > 0)

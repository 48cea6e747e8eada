"""The functions phi of the covariates. None has an intercept: batches have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


class Line(nn.Module):
    """``phi(w) = w B``.

    Parameters
    ----------
    covariates, features : int
    """

    def __init__(self, covariates: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(features, covariates))

    def forward(self, w: Tensor) -> Tensor:
        """(…, p) of (…, q)."""
        return w @ self.weight.T

    def contrast(self, w: Tensor) -> Tensor:
        """Of differences from the mean, (B, 1, q) or (B, p, q): what they come to, (B, 1, p)."""
        if w.shape[1] == 1:
            return w @ self.weight.T
        return torch.einsum("bpq,pq->bp", w, self.weight)[:, None]


class Perceptron(nn.Module):
    """Layers with tanh between them. The last begins at zero: no effect of any covariate.

    Parameters
    ----------
    covariates, features : int
    hidden : sequence of int
    bias : bool
        Of the hidden layers.
    """

    def __init__(self, covariates: int, features: int, hidden: Sequence[int], bias: bool) -> None:
        super().__init__()
        sizes = [covariates, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairwise(sizes))
        self.head = Line(sizes[-1], features)

    def forward(self, w: Tensor) -> Tensor:
        """(…, p) of (…, q)."""
        for layer in self.layers:
            w = torch.tanh(layer(w))
        return torch.as_tensor(self.head(w))

    def contrast(self, w: Tensor) -> Tensor:
        """Of a person and M others, (B, 1 + M, q): the first less each other, (B, M, p)."""
        found = torch.as_tensor(self(w))
        return found[:, :1] - found[:, 1:]


class Networks(nn.Module):
    """phi, the one group of the training."""

    def __init__(self, phi: Line | Perceptron) -> None:
        super().__init__()
        self.phi = phi


def losses(networks: Any, batch: Mapping[str, Tensor], draws: Any) -> dict[str, Tensor]:
    """Half the squared error of every sample, (B,), over its features and its differences."""
    e = (batch["x"] - networks.phi.contrast(batch["w"])) * batch["seen"]
    return {"error": 0.5 * e.square().sum(dim=2).mean(dim=1)}

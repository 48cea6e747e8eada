"""Spectral norm whose state follows from the weights alone, so that it can travel with them.

Miyato et al. 2018, algorithm 1 (arXiv:1802.05957). torch's own takes a power iteration in every
forward pass of a training; here one is taken after every step of the optimizer (``refresh``), at
the coordinator or at a site alike, however many samples a step has.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

BEGINNING = 15
"""Power iterations before the first step."""


class SpectralNorm(nn.Module):
    """Divides a weight by an estimate of its largest singular value.

    Parameters
    ----------
    weight : (out, …) tensor
    read : callable
        Gives the weight as it is before it is divided.
    """

    def __init__(self, weight: Tensor, read: Callable[[], Tensor]) -> None:
        super().__init__()
        self._read = read
        self.u: Tensor
        self.register_buffer("u", normalize(torch.ones(len(weight), dtype=weight.dtype), dim=0))
        with torch.no_grad():
            for _ in range(BEGINNING):
                self._iterate(weight)

    def _iterate(self, weight: Tensor) -> None:
        flat = weight.reshape(len(weight), -1)
        v = normalize(flat.T @ self.u, dim=0)
        self.u.copy_(normalize(flat @ v, dim=0))

    def refresh(self) -> None:
        """One power iteration with the weight as it is now."""
        with torch.no_grad():
            self._iterate(self._read())

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with a spectral norm of about 1."""
        flat = weight.reshape(len(weight), -1)
        v = normalize(flat.T @ self.u, dim=0).detach()
        return weight / (self.u @ (flat @ v))


def spectral(module: nn.Module, name: str = "weight") -> nn.Module:
    """`module`, with the spectral norm of a parameter kept at 1."""

    def read() -> Tensor:
        found: Tensor = getattr(module.parametrizations, name).original
        return found

    norm = SpectralNorm(getattr(module, name).detach(), read)
    parametrize.register_parametrization(module, name, norm, unsafe=True)
    return module

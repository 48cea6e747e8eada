"""A unit of MISPEL (Torbati et al. 2023, section 2.2): one scanner's encoder and decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from motet.harmonizers.mispel.sizes import Sizes

SLOPE = 0.3
"""Of leaky ReLUs below 0: the default of the published code's library."""


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3 x 3 convolution, its weights Glorot-uniform, its bias 0."""
    made = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.xavier_uniform_(made.weight)
    assert made.bias is not None
    nn.init.zeros_(made.bias)
    return made


def _act(x: Tensor) -> Tensor:
    return nnf.leaky_relu(x, SLOPE)


def _up(x: Tensor) -> Tensor:
    return nnf.interpolate(x, scale_factor=2, mode="nearest")


class Encoder(nn.Module):
    """A slice to its embedding: a whole U-Net of two poolings, without norms.

    Parameters
    ----------
    sizes : Sizes
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        a, b, c = sizes.widths
        self.first = nn.ModuleList([_conv(1, a), _conv(a, a)])
        self.second = nn.ModuleList([_conv(a, b), _conv(b, b)])
        self.third = nn.ModuleList([_conv(b, c), _conv(c, c)])
        self.up_second, self.up_first = _conv(c, b), _conv(b, a)
        self.back_second = nn.ModuleList([_conv(2 * b, b), _conv(b, b)])
        self.back_first = nn.ModuleList([_conv(2 * a, a), _conv(a, a)])
        self.last = _conv(a, sizes.maps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, h, w) -> (B, maps, h, w); h and w are multiples of 4."""
        # With channels last, narrow convolutions take half as long on a CPU; so do those after.
        x = _act(self.first[0](x)).contiguous(memory_format=torch.channels_last)
        one = _act(self.first[1](x))
        two = _through(self.second, nnf.max_pool2d(one, 2))
        three = _through(self.third, nnf.max_pool2d(two, 2))
        # The convolutions after an enlargement have no activation, as published.
        two = _through(self.back_second, torch.cat([two, self.up_second(_up(three))], dim=1))
        one = _through(self.back_first, torch.cat([one, self.up_first(_up(two))], dim=1))
        return _act(self.last(one))


def _through(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = _act(layer(x))
    return x


class Decoder(nn.Module):
    """An embedding to a slice: ``ReLU(sum_l w_l Z_l)``, no bias (eq. 2).

    Parameters
    ----------
    sizes : Sizes
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        # Of either sign a sum below 0 everywhere has no gradient, and all scanners begin alike.
        self.weight = nn.Parameter(sizes.spread * torch.randn(sizes.maps).abs())

    def forward(self, z: Tensor) -> Tensor:
        """(B, maps, h, w) -> (B, h, w)."""
        return nnf.relu(torch.einsum("blhw,l->bhw", z, self.weight))


class Units(nn.Module):
    """Units of several scanners, alike at first: ``encoder<k>`` and ``decoder<k>``.

    Parameters
    ----------
    sizes : Sizes
    scanners : int
    """

    def __init__(self, sizes: Sizes, scanners: int) -> None:
        super().__init__()
        self.scanners = scanners
        encoder, decoder = Encoder(sizes), Decoder(sizes)
        for k in range(scanners):
            for name, first in ((f"encoder{k}", encoder), (f"decoder{k}", decoder)):
                # With weights of its own, each scanner would begin with maps of its own.
                made = type(first)(sizes)
                made.load_state_dict(first.state_dict())
                self.add_module(name, made)

    def encoder(self, k: int) -> nn.Module:
        """Of a scanner."""
        return self.get_submodule(f"encoder{k}")

    def decoder(self, k: int) -> nn.Module:
        """Of a scanner."""
        return self.get_submodule(f"decoder{k}")

"""What units are trained with: one value a sample (Torbati et al. 2023, eqs. 3 to 7).

A sample is one slice of a traveler on some scanners, ``x`` (B, K, h, w), of which ``there`` (B, K)
are. The first two losses have all scanners in one place; the last two have this site's own, and
what it knows of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from motet.harmonizers.mispel.grid import seen
from motet.harmonizers.mispel.networks import Units

Batch = Mapping[str, Tensor]


def embeddings(units: Units, batch: Batch) -> tuple[Tensor, Tensor]:
    """Embeddings, (B, K, maps, h, w), and images that are made of them, (B, K, h, w).

    0 where a scanner is not there.
    """
    x, there = batch["x"], batch["there"] > 0
    found, made = [], []
    for k in range(units.scanners):
        rows = there[:, k].nonzero()[:, 0]
        z = units.encoder(k)(x[rows, k : k + 1])
        y = units.decoder(k)(z)
        found.append(z.new_zeros(len(x), *z.shape[1:]).index_copy(0, rows, z))
        made.append(y.new_zeros(len(x), *y.shape[1:]).index_copy(0, rows, y))
    return torch.stack(found, dim=1), torch.stack(made, dim=1)


def reconstruction(made: Tensor, batch: Batch) -> Tensor:
    """Mean absolute error of every scanner's image, summed over scanners, (B,) (eq. 3)."""
    apart = (made - batch["x"]).abs().mean(dim=(2, 3))
    return (apart * (batch["there"] > 0)).sum(dim=1)


@dataclass(frozen=True)
class Together:
    """Losses where all scans of a traveler are in one place."""

    def embedding(self, units: Units, batch: Batch, draws: Any) -> Mapping[str, Tensor]:
        """Reconstruction, and the variance of embeddings over scanners (eqs. 3 and 4)."""
        z, made = embeddings(units, batch)
        there = (batch["there"] > 0).to(z.dtype)[:, :, None, None, None]
        count = there.sum(dim=1, keepdim=True)
        mean = z.sum(dim=1, keepdim=True) / count
        apart = ((z - mean).square() * there).sum(dim=1, keepdim=True) / count
        return {
            "reconstruction": reconstruction(made, batch),
            "coupling": apart.flatten(1).mean(dim=1),
        }

    def harmonization(self, units: Units, batch: Batch, draws: Any) -> Mapping[str, Tensor]:
        """Reconstruction, and the mean absolute difference of all pairs of scanners (eq. 6)."""
        _, made = frozen(units, batch)
        there = (batch["there"] > 0).to(made.dtype)
        count, apart = there.sum(dim=1), made.new_zeros(len(made))
        for i in range(units.scanners):
            for j in range(i):
                both = there[:, i] * there[:, j]
                apart = apart + both * (made[:, i] - made[:, j]).abs().mean(dim=(1, 2))
        return {
            "reconstruction": reconstruction(made, batch),
            "harmonization": 2.0 * apart / (count * (count - 1.0)),
        }


@dataclass(frozen=True)
class Apart:
    """Losses of this site's scanners, what all scanners have in common held fixed.

    Parameters
    ----------
    scanners : int
        Of all sites, M.
    stride : int
        Pixels between those that are compared, from a corner of each slice's own, ``corner``.
    """

    scanners: int
    stride: int

    def embedding(self, units: Units, batch: Batch, draws: Any) -> Mapping[str, Tensor]:
        """Reconstruction, and the squared distance from the consensus, ``consensus``, over M.

        Where the consensus is the embeddings' mean, the gradient is that of the variance with
        respect to this site's embeddings: the mean's own derivative vanishes.
        """
        z, made = embeddings(units, batch)
        own = seen(z, batch["corner"], self.stride)
        apart = (own - batch["consensus"][:, None]).square().mean(dim=(2, 3, 4))
        return {
            "reconstruction": reconstruction(made, batch),
            "coupling": apart.sum(dim=1) / self.scanners,
        }

    def harmonization(self, units: Units, batch: Batch, draws: Any) -> Mapping[str, Tensor]:
        """Reconstruction, and the surrogate: distance from the mean image, ``values``, by M - 1.

        ``sum_i |y_i - ybar| / (M - 1)`` lies between half of the harmonization loss and all of it,
        and is it for two scanners. ``signs`` is ``sum_i sign(y_i - ybar)``: what the mean's own
        derivative comes to.
        """
        _, made = frozen(units, batch)
        own = seen(made, batch["corner"], self.stride)
        mean, signs = batch["values"][:, None], batch["signs"][:, None]
        # From the mean, which has no gradient: over all sites the second term adds nothing.
        apart = (own - mean).abs() - (own - mean) * signs / self.scanners
        return {
            "reconstruction": reconstruction(made, batch),
            "harmonization": apart.mean(dim=(2, 3)).sum(dim=1) / (self.scanners - 1),
        }


def frozen(units: Units, batch: Batch) -> tuple[Tensor, Tensor]:
    """Embeddings without a gradient, and images made of them with one."""
    with torch.no_grad():
        z, _ = embeddings(units, batch)
    there = (batch["there"] > 0)[:, :, None, None]
    made = torch.stack([units.decoder(k)(z[:, k]) for k in range(units.scanners)], dim=1)
    return z, made * there

"""Harmonizing a volume: every axial slice through encoder and decoder of its scanner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.harmonizers._images.each import rescaled
from motet.harmonizers.mispel.slices import level, padded, seen
from motet.harmonizers.mispel.units import Unit
from motet.images.images import Image, Scan

if TYPE_CHECKING:
    from motet.harmonizers.mispel.networks import Units
    from motet.training.networks import Networks

Float = NDArray[np.float64]
AT_ONCE = 8
"""Slices that pass through the networks together."""


@dataclass(frozen=True)
class Made:
    """A unit that is at hand.

    Parameters
    ----------
    unit : Unit
    """

    unit: Unit

    @cached_property
    def _networks(self) -> Networks:
        return self.unit.networks()

    def harmonized(self, image: Image, *, site: str, scan: Scan, who: str) -> Float:
        """The image in parts of its brain's mean, (x, y, z); around the brain only scaled.

        Where the skull was taken off, what is around the brain stays.
        """
        scale = level(image, place=Place(site=site, file=scan.found.file), person=who)
        made = rescaled(image, 0.0, scale)
        inside = np.flatnonzero(image.mask.any(axis=(0, 1)))
        slices = padded(np.moveaxis(seen(image, scale)[:, :, inside], 2, 0))
        x, y, _ = image.data.shape
        brain = np.zeros_like(made)
        brain[:, :, inside] = np.moveaxis(self._through(slices)[:, :x, :y], 0, 2)
        made[image.mask] = brain[image.mask]
        return made

    def _through(self, slices: Float) -> Float:
        import torch

        from motet.training.device import steady

        nets, found = self._networks, []
        units = cast("Units", nets.module)
        encoder, decoder = units.encoder(0), units.decoder(0)
        with steady(self.unit.params.train.threads), torch.no_grad():
            for start in range(0, len(slices), AT_ONCE):
                part: Any = torch.from_numpy(np.array(slices[start : start + AT_ONCE]))
                made = decoder(encoder(part.to(nets.dtype)[:, None]))
                found.append(made.to(torch.float64).numpy())
        return np.concatenate(found)

"""Harmonizing a volume: every three slices in a row, and the mean where they overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.harmonizers.murd.params import MurdParams
from motet.harmonizers.murd.slices import level
from motet.images.cache import brain_box, check_fits
from motet.images.images import Image
from motet.images.slices import Plane, Slicing

if TYPE_CHECKING:
    from motet.harmonizers.murd.networks import Murd
    from motet.harmonizers.murd.targets import Target

Float = NDArray[np.float64]
AT_ONCE = 16
"""Triplets of slices that pass through the networks at once."""


def triplets(
    image: Image, scale: float, plane: Plane, size: int, place: Place
) -> tuple[Float, Float]:
    """Every three slices in a row within the brain's box.

    Returns
    -------
    x : (n - 2, 3, size, size) float64
        Intensities in units of `scale`; 0 beside the brain.
    brain : (n - 2, 1, size, size) float64
        1 where one of the three shows brain.

    Raises
    ------
    DataError
        When there are no three.
    """
    box = brain_box(image)
    inside = image.mask[box]
    slicing = _slicing(image, plane, size, place)
    slices = np.stack(list(slicing.slices(np.where(inside, image.data[box] / scale, 0.0))))
    shown = np.stack(list(slicing.slices(inside.astype(np.float64))))
    count = len(slicing) - 2
    x = np.stack([slices[by : count + by] for by in range(3)], axis=1)
    brain = np.max([shown[by : count + by] for by in range(3)], axis=0)
    return x.astype(np.float64), brain[:, None]


def _slicing(image: Image, plane: Plane, size: int, place: Place) -> Slicing:
    """Slices of the brain's box."""
    slicing = Slicing(shape=image.mask[brain_box(image)].shape, plane=plane, size=size)
    if len(slicing) < 3:
        raise place.error(
            f"The brain has {len(slicing)} {plane} slices, and networks see three in a row.",
            do="Choose another plane: params.planes.",
        )
    return slicing


@dataclass(frozen=True, kw_only=True)
class Restyler:
    """Networks that give images the style of a target.

    Parameters
    ----------
    networks : Murd
    params : MurdParams
    target : Target
    """

    networks: Murd
    params: MurdParams
    target: Target

    def restyled(self, image: Image, *, place: Place, person: str) -> Float:
        """The image with the target's style, in its units, (x, y, z); outside it stays."""
        planes = self.params.planes
        check_fits(image, planes=planes, size=self.params.pixels, place=place, person=person)
        scale = level(image)
        made = np.mean([self._of_plane(image, scale, plane, place) for plane in planes], axis=0)
        return image.with_brain(self.target.level * made[image.mask[brain_box(image)]])

    def _of_plane(self, image: Image, scale: float, plane: Plane, place: Place) -> Float:
        """The brain's box from slices of one plane, in units of a level."""
        slicing = _slicing(image, plane, self.params.pixels, place)
        x, brain = triplets(image, scale, plane, self.params.pixels, place)
        sums = np.zeros((len(slicing), *x.shape[2:]))
        counts = np.zeros((len(slicing), 1, 1))
        for start in range(0, len(x), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            for k, three in enumerate(self._made(x[part], brain[part]), start):
                sums[k : k + 3] += three
                counts[k : k + 3] += 1
        found = np.zeros(slicing.shape)
        for k, pixels in enumerate(sums / counts):
            slicing.put(found, k, pixels)
        return found

    def _made(self, x: Float, brain: Float) -> Float:
        """Triplets in the target's style, in units of its level; nothing is darker than 0."""
        import torch

        from motet.harmonizers.murd.losses import SPAN, seen
        from motet.training.device import steady

        networks, dtype = self.networks, _dtype(self.networks)
        with torch.no_grad(), steady(self.params.train.threads):
            given, inside = seen(torch.from_numpy(x)).to(dtype), torch.from_numpy(brain).to(dtype)
            style = torch.from_numpy(self.target.style).to(dtype).expand(len(x), -1)
            detail = networks.detail(given, inside)
            made = networks.made(networks.content(detail, inside), style, detail, inside)
        return np.asarray(((made.to(torch.float64).numpy() + 1.0) / SPAN).clip(0.0))


def _dtype(networks: Murd) -> Any:
    return next(networks.parameters()).dtype

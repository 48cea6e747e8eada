"""Harmonizing a volume: slices of every plane with a target's style, then the median of planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import WHITE
from motet.harmonizers.calamiti.slices import level
from motet.harmonizers.calamiti.styles import AT_ONCE, Style
from motet.images.cache import brain_box, check_fits
from motet.images.images import Image
from motet.images.slices import Plane, Slicing

if TYPE_CHECKING:
    from motet.harmonizers.calamiti.networks import Calamiti

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Restyler:
    """Networks that give images the style of a target.

    Parameters
    ----------
    networks : Calamiti
    params : CalamitiParams
    target : Style
    """

    networks: Calamiti
    params: CalamitiParams
    target: Style

    def restyled(self, image: Image, contrast: str, *, place: Place, person: str) -> Float:
        """The image with the target's style, in its units, (x, y, z); outside it stays."""
        planes = self.params.planes
        check_fits(image, planes=planes, size=self.params.pixels, place=place, person=person)
        c = self.params.contrasts.index(contrast)
        box = brain_box(image)
        inside = image.mask[box]
        seen = np.where(inside, image.data[box] / level(image, contrast), 0.0)
        made = np.stack([self._of_plane(seen, inside, plane, c) for plane in planes])
        brain = np.median(made, axis=0) * (self.target.white[c] / WHITE)
        return image.with_brain(brain[inside])

    def _of_plane(self, seen: Float, inside: NDArray[np.bool_], plane: Plane, c: int) -> Float:
        """All slices of a plane, decoded and put in their places."""
        import torch

        slicing = Slicing(shape=seen.shape, plane=plane, size=self.params.pixels)
        shown = list(slicing.slices(inside.astype(np.float64)))
        chosen = [k for k, brain in enumerate(shown) if brain.any()]
        found = np.zeros(seen.shape)
        dtype = next(self.networks.parameters()).dtype
        theta = torch.from_numpy(np.array(self.target.theta[c])).to(dtype)
        for start in range(0, len(chosen), AT_ONCE):
            part = chosen[start : start + AT_ONCE]
            x = torch.from_numpy(np.stack([slicing.slice(seen, k) for k in part])[:, None])
            brain = torch.from_numpy(np.stack([shown[k] for k in part])[:, None])
            made = self._decoded(x.to(dtype), brain.to(dtype), theta)
            for k, pixels in zip(part, made, strict=True):
                slicing.put(found, k, pixels)
        return found

    def _decoded(self, x: Any, brain: Any, theta: Any) -> Float:
        import torch

        from motet.harmonizers.calamiti.networks import detail_of
        from motet.training.device import steady

        networks = self.networks
        with torch.no_grad(), steady(self.params.train.threads):
            brains = networks.brains(brain)
            code = networks.code(networks.logits(x, brains), None, 1.0)
            detail = detail_of(x, brain) if networks.sizes.detail else None
            made = networks.decode(code, theta.expand(len(x), -1), brains, detail)
        return np.asarray(made[:, 0].to(torch.float64).numpy())

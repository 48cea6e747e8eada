"""Harmonizing a volume: slices of every plane with a target's style, then one volume of planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.harmonizers.calamiti.detail import with_detail
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import WHITE
from motet.harmonizers.calamiti.slices import level, most_brain
from motet.harmonizers.calamiti.styles import AT_ONCE, Style, codes
from motet.images.cache import brain_box, check_fits
from motet.images.images import Image
from motet.images.slices import Plane, Slicing, Window

if TYPE_CHECKING:
    from motet.harmonizers.calamiti.fusion_network import Fusing
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
    fusion : Fusing, optional
        What makes one volume of those of the planes; default: the voxel-wise median.
    """

    networks: Calamiti
    params: CalamitiParams
    target: Style
    fusion: Fusing | None = None

    def restyled(self, image: Image, contrast: str, *, place: Place, person: str) -> Float:
        """The image with the target's style, in its units, (x, y, z); outside it stays."""
        planes = self.params.planes
        check_fits(image, planes=planes, size=self.params.pixels, place=place, person=person)
        c = self.params.contrasts.index(contrast)
        box = brain_box(image)
        inside = image.mask[box]
        seen = np.where(inside, image.data[box] / level(image, contrast), 0.0)
        made = self._volume(seen, inside, self.target.theta[c])
        if self.params.detail:
            own = self._volume(seen, inside, self._style(seen, inside))
            edges, share = image.volume.grid.canonical.spacing, self.params.detail
            made = with_detail(made, own, seen, inside, share=share, edges=edges)
        return image.with_brain(made[inside] * (self.target.white[c] / WHITE))

    def _style(self, seen: Float, inside: NDArray[np.bool_]) -> Float:
        """The volume's own style code."""
        x = most_brain(seen, inside, self.params)[:, None]
        found: Float = codes(self.networks, x, threads=self.params.train.threads)[0]
        return found

    def _volume(self, seen: Float, inside: NDArray[np.bool_], theta: Float) -> Float:
        """One volume, (x, y, z), with a style."""
        return self._one(of_planes(self.networks, self.params, seen, inside, theta))

    def _one(self, made: Float) -> Float:
        """One volume, (x, y, z), of those of the planes."""
        if self.fusion is None:
            return np.asarray(np.median(made, axis=0))
        import torch

        from motet.training.device import steady

        dtype = next(self.fusion.parameters()).dtype
        # As large as those that it was trained on: its norms are of whole volumes.
        x = torch.from_numpy(cube(made, self.params.pixels)[None]).to(dtype)
        with torch.no_grad(), steady(self.params.train.threads):
            found = self.fusion(x)[0].to(torch.float64).numpy()
        return np.asarray(found[windows(made.shape[1:], self.params.pixels)])


def windows(shape: tuple[int, ...], edge: int) -> tuple[slice, ...]:
    """Where a volume of `shape` lies in a cube."""
    return tuple(Window(length=n, size=edge).placed for n in shape)


def cube(volumes: NDArray[np.floating], edge: int) -> NDArray[np.floating]:
    """Volumes, (n, x, y, z), in the middle of cubes: (n, edge, edge, edge)."""
    found = np.zeros((len(volumes), edge, edge, edge), dtype=volumes.dtype)
    found[(slice(None), *windows(volumes.shape[1:], edge))] = volumes
    return found


def of_planes(
    networks: Calamiti, params: CalamitiParams, seen: Float, inside: NDArray[np.bool_], theta: Float
) -> Float:
    """A volume decoded slice by slice across every plane.

    Parameters
    ----------
    networks : Calamiti
    params : CalamitiParams
    seen : (x, y, z) float64
        White matter at 0.25; 0 beside the brain.
    inside : (x, y, z) bool
    theta : (style,) float64

    Returns
    -------
    (planes, x, y, z) float64
        0 beside the brain.
    """
    return np.stack([_of_plane(networks, params, seen, inside, theta, p) for p in params.planes])


def _of_plane(
    networks: Calamiti,
    params: CalamitiParams,
    seen: Float,
    inside: NDArray[np.bool_],
    theta: Float,
    plane: Plane,
) -> Float:
    """All slices of a plane, decoded and put in their places."""
    import torch

    slicing = Slicing(shape=seen.shape, plane=plane, size=params.pixels)
    shown = list(slicing.slices(inside.astype(np.float64)))
    chosen = [k for k, brain in enumerate(shown) if brain.any()]
    found = np.zeros(seen.shape)
    like = next(networks.parameters())
    code = torch.from_numpy(np.array(theta)).to(like)
    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        x = torch.from_numpy(np.stack([slicing.slice(seen, k) for k in part])[:, None])
        brain = torch.from_numpy(np.stack([shown[k] for k in part])[:, None])
        made = _decoded(networks, x.to(like), brain.to(like), code, params.train.threads)
        for k, pixels in zip(part, made, strict=True):
            slicing.put(found, k, pixels)
    return np.where(inside, found, 0.0)


def _decoded(networks: Calamiti, x: Any, brain: Any, theta: Any, threads: int) -> Float:
    import torch

    from motet.training.device import steady

    with torch.no_grad(), steady(threads):
        brains = networks.brains(brain)
        code = networks.code(networks.logits(x, brains), None, 1.0)
        made = networks.decode(code, theta.expand(len(x), -1), brains)
    return np.asarray(made[:, 0].to("cpu", torch.float64).numpy())

"""Harmonizing a volume: slices of every plane with a target's style, then one volume of planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.harmonizers.calamiti.detail import with_detail
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import WHITE
from motet.harmonizers.calamiti.slices import most_brain, seen_of
from motet.harmonizers.calamiti.styles import AT_ONCE, Style, codes
from motet.images.cache import brain_box, check_fits
from motet.images.images import Image
from motet.images.slices import Plane, Slicing, Window

if TYPE_CHECKING:
    from torch import Tensor

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

    def restyled(self, images: Sequence[Image], *, place: Place, person: str) -> list[Float]:
        """Images of a person with the target's style, in its units, (x, y, z); outside they stay.

        Parameters
        ----------
        images : sequence of Image
            One a contrast, on one grid.
        """
        size, contrasts = self.params.pixels, self.params.contrasts
        for image in images:
            check_fits(image, planes=self.params.planes, size=size, place=place, person=person)
        inside = images[0].mask[brain_box(images[0])]
        seen = [seen_of(image, name) for image, name in zip(images, contrasts, strict=True)]
        styles = [self._styles(c, one, inside) for c, one in enumerate(seen)]
        edges = images[0].volume.grid.canonical.spacing
        made = []
        decoded = of_styles(self.networks, self.params, seen, inside, styles)
        for c, planes in enumerate(decoded):
            one = self._one(planes[0])
            if self.params.detail:
                own, share = self._one(planes[1]), self.params.detail
                one = with_detail(one, own, seen[c], inside, share=share, edges=edges)
            made.append(images[c].with_brain(one[inside] * (self.target.white[c] / WHITE)))
        return made

    def _styles(self, c: int, seen: Float, inside: NDArray[np.bool_]) -> list[Float]:
        """The target's style of a contrast; where detail is put back, the scan's own, too."""
        if not self.params.detail:
            return [self.target.theta[c]]
        x = most_brain(seen, inside, self.params)[:, None]
        own: Float = codes(self.networks, x, threads=self.params.train.threads)[0]
        return [self.target.theta[c], own]

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


def of_styles(
    networks: Calamiti,
    params: CalamitiParams,
    seen: Sequence[Float],
    inside: NDArray[np.bool_],
    styles: Sequence[Sequence[Float]],
) -> list[Float]:
    """Contrasts of one brain, each decoded in some styles.

    Parameters
    ----------
    networks : Calamiti
    params : CalamitiParams
    seen : sequence of (x, y, z) float64
        A contrast each, white matter at 0.25; 0 beside the brain.
    inside : (x, y, z) bool
    styles : sequence of sequences of (style,) float64
        Of every contrast.

    Returns
    -------
    list of (styles, planes, x, y, z) float64
        A contrast each; 0 beside the brain.
    """
    if params.anatomy_of == "each":
        pairs = zip(seen, styles, strict=True)
        return [of_planes(networks, params, [one], inside, some) for one, some in pairs]
    made = of_planes(networks, params, seen, inside, [theta for some in styles for theta in some])
    ends = np.cumsum([len(some) for some in styles])[:-1]
    return np.split(made, ends)


def of_planes(
    networks: Calamiti,
    params: CalamitiParams,
    seen: Sequence[Float],
    inside: NDArray[np.bool_],
    thetas: Sequence[Float],
) -> Float:
    """Volumes decoded slice by slice across every plane.

    Parameters
    ----------
    networks : Calamiti
    params : CalamitiParams
    seen : sequence of (x, y, z) float64
        Contrasts of one brain, of whose anatomy the mean is taken. White matter at 0.25; 0 beside
        the brain.
    inside : (x, y, z) bool
    thetas : sequence of (style,) float64

    Returns
    -------
    (thetas, planes, x, y, z) float64
        0 beside the brain.
    """
    made = [_of_plane(networks, params, seen, inside, thetas, plane) for plane in params.planes]
    return np.stack(made, axis=1)


def _of_plane(
    networks: Calamiti,
    params: CalamitiParams,
    seen: Sequence[Float],
    inside: NDArray[np.bool_],
    thetas: Sequence[Float],
    plane: Plane,
) -> Float:
    """All slices of a plane, decoded and put in their places, (thetas, x, y, z)."""
    import torch

    slicing = Slicing(shape=inside.shape, plane=plane, size=params.pixels)
    shown = list(slicing.slices(inside.astype(np.float64)))
    chosen = [k for k, brain in enumerate(shown) if brain.any()]
    found = np.zeros((len(thetas), *inside.shape))
    like = next(networks.parameters())
    styles = [torch.from_numpy(np.array(theta)).to(like) for theta in thetas]

    def tensor(slices: list[Float]) -> Tensor:
        return torch.from_numpy(np.stack(slices)[:, None]).to(like)

    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        x = [tensor([slicing.slice(one, k) for k in part]) for one in seen]
        brain = tensor([shown[k] for k in part])
        for volume, made in zip(
            found, _decoded(networks, x, brain, styles, params.train.threads), strict=True
        ):
            for k, pixels in zip(part, made, strict=True):
                slicing.put(volume, k, pixels)
    return np.where(inside, found, 0.0)


def _decoded(
    networks: Calamiti, x: list[Tensor], brain: Tensor, styles: list[Tensor], threads: int
) -> list[Float]:
    """Slices, (n, h, w), in every style; of several contrasts with the mean of their logits."""
    import torch

    from motet.training.device import steady

    with torch.no_grad(), steady(threads):
        brains = networks.brains(brain)
        logits = torch.stack([networks.logits(one, brains) for one in x]).mean(dim=0)
        code = networks.code(logits, None, 1.0)
        made = [networks.decode(code, t.expand(len(brain), -1), brains)[:, 0] for t in styles]
    return [slices.to("cpu", torch.float64).numpy() for slices in made]

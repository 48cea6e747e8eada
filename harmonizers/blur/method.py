"""Gaussian blur: what looks like harmonization and is destruction. A control."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.alone import Alone
from motet.harmonizers._images.each import each
from motet.harmonizers._images.smooth import smoothed
from motet.images.images import Image, Images
from motet.images.params import ImageParams
from motet.releases import Arrays
from motet.schema import Schema


class BlurParams(ImageParams):
    """Options of the blur.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum of the kernel, mm.
    """

    fwhm: float = Field(default=12.0, gt=0.0, le=100.0)


class Blur(Alone):
    """Each image smoothed within its mask."""

    name: ClassVar[str] = "blur"
    params_type: ClassVar[type[Params]] = BlurParams
    card: ClassVar[Card] = Card(
        title="Blur",
        summary="A control that destroys: a site is harder to tell, and so is everything else.",
        data="images",
        by_batch=False,
        papers=(),
        leaves="nothing",
        limits=("a control: never use it to harmonize",),
    )

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """A Gaussian over the voxels of the mask alone."""
        return each(data, lambda row, image: blurred(image, params.fwhm))


def blurred(image: Image, fwhm: float) -> NDArray[np.float64]:
    """The brain smoothed by a Gaussian that sees nothing outside of the mask, (x, y, z)."""
    edges = image.volume.grid.canonical.spacing
    sd = [fwhm / np.sqrt(8 * np.log(2)) / edge for edge in edges]
    return image.with_brain(smoothed(image.data, image.mask, sd)[image.mask])

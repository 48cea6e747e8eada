"""Z-score as a harmonizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from numpy.typing import NDArray

from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.alone import Alone
from motet.harmonizers._images.each import each, rescaled
from motet.images.images import Images
from motet.images.params import ImageParams
from motet.releases import Arrays
from motet.schema import Schema


class ZScore(Alone):
    """Each image in units of its own brain."""

    name: ClassVar[str] = "z_score"
    params_type: ClassVar[type[Params]] = ImageParams
    card: ClassVar[Card] = Card(
        title="Z-score",
        summary="Intensities less the brain's mean, over its standard deviation.",
        data="images",
        by_batch=False,
        papers=("Reinhold et al. 2019, SPIE Medical Imaging 10949, doi:10.1117/12.2513089",),
        tissues="always",
        leaves="nothing",
        limits=("mean and deviation follow the mix of tissues: atrophy counts as scanner effect",),
    )

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """``(I - mean) / sd`` of the brain, divisor n."""
        return each(
            data,
            lambda row, image: rescaled(
                image, float(image.brain.mean()), float(image.brain.std()) or 1.0
            ),
        )

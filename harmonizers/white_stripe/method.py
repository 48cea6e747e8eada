"""White Stripe as a harmonizer (Shinohara et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from motet.errors import DataError
from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.alone import Alone
from motet.harmonizers._images.each import each, rescaled
from motet.harmonizers._images.white_stripe import stripe
from motet.images.images import Image, Images
from motet.images.params import ImageParams
from motet.releases import Arrays
from motet.schema import Schema


class WhiteStripeParams(ImageParams):
    """Options of White Stripe.

    Parameters
    ----------
    width : float
        Half of the stripe, in quantiles of the brain's intensities (tau of the paper).
    """

    width: float = Field(default=0.05, gt=0.0, lt=0.5)


class WhiteStripe(Alone):
    """Each image in units of its own white matter."""

    name: ClassVar[str] = "white_stripe"
    params_type: ClassVar[type[Params]] = WhiteStripeParams
    card: ClassVar[Card] = Card(
        title="White Stripe",
        summary="Intensities in units of each image's normal-appearing white matter.",
        data="images",
        papers=("Shinohara et al. 2014, NeuroImage: Clinical 6:9, doi:10.1016/j.nicl.2014.08.008",),
        leaves="nothing",
        limits=(
            "brings white matter alone together: other tissues keep their contrast to it",
            "needs a brain mask; T1w, T2w, PDw or FLAIR",
        ),
    )

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """``(I - mean of the stripe) / sd of the stripe``."""

        def change(row: int, image: Image) -> NDArray[np.float64]:
            try:
                return rescaled(image, *stripe(image, params.contrast, params.width))
            except ValueError as error:
                raise DataError(
                    str(error),
                    do="Look at the image and its mask.",
                    site=data.site,
                    file=data.scan(row).found.file,
                    person=data.who(row),
                ) from error

        return each(data, change)

"""White Stripe as a harmonizer (Shinohara et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from numpy.typing import NDArray
from pydantic import Field

from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.alone import Alone
from motet.harmonizers._images.each import each, rescaled
from motet.harmonizers._images.white_stripe import stripe
from motet.images.images import Images
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
        by_batch=False,
        papers=("Shinohara et al. 2014, NeuroImage: Clinical 6:9, doi:10.1016/j.nicl.2014.08.008",),
        tissues="always",
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
        return each(
            data,
            lambda row, image: rescaled(image, *stripe(image, params.contrast, params.width)),
        )

"""Histogram matching: every image gets the distribution of intensities of all. A control."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray
from pydantic import Field

from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.alone import ImageByImage
from motet.harmonizers._images.each import each
from motet.harmonizers._images.mean_quantiles import MeanQuantiles
from motet.harmonizers._images.quantiles import matched, quantile_function
from motet.images.images import Image, Images
from motet.images.params import ImageParams
from motet.phases import Step
from motet.releases import Arrays
from motet.schema import Schema


class HistogramMatchingParams(ImageParams):
    """Options of histogram matching.

    Parameters
    ----------
    points : int
        Of the grid of probabilities.
    """

    points: int = Field(default=1000, ge=11, le=10_000)


class HistogramMatching(ImageByImage):
    """Each image mapped to the mean distribution of everybody."""

    name: ClassVar[str] = "histogram_matching"
    params_type: ClassVar[type[Params]] = HistogramMatchingParams
    card: ClassVar[Card] = Card(
        title="Histogram matching",
        summary="A control: gives every image the same distribution of intensities.",
        data="images",
        by_batch=False,
        papers=("Nyul, Udupa, Zhang 2000, IEEE Trans Med Imaging 19:143, doi:10.1109/42.836373",),
        leaves="one sum over sites: 1,000 quantiles and a count, 8 kB a site",
        limits=("a control: it takes away what differs in the mix of tissues, atrophy too",),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """One sum."""
        return (MeanQuantiles(params.points).step(),)

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Map every brain by its own quantile function."""
        target = shared["target"]

        def change(row: int, image: Image) -> NDArray[Any]:
            brain = image.brain
            own = quantile_function(brain, len(target))
            return image.with_brain(matched(brain, own, target))

        return each(data, change)

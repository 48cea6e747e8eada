"""Nyul and Udupa's piecewise-linear histogram matching as a harmonizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.alone import ImageByImage
from motet.harmonizers._images.each import each
from motet.harmonizers.nyul.landmarks import LANDMARKS, landmarks, mapped, scaled
from motet.images.images import Images
from motet.images.params import ImageParams
from motet.phases import Step, Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site

ARRAYS = (
    ArraySpec(name="people", shape=(), dtype="int64", least=0, meaning="number of images"),
    ArraySpec(
        name="landmarks",
        shape=(len(LANDMARKS),),
        least=0,
        meaning="sum of the landmarks of every image on its own scale of 1 to 100",
    ),
)


@dataclass(frozen=True)
class Scale:
    """The one phase: the mean of everybody's landmarks."""

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Sum of the scaled landmarks over the site's images."""
        found = [scaled(landmarks(image.brain)) for image in site.data.each()]
        return {
            "people": np.asarray(len(found), dtype=np.int64),
            "landmarks": np.sum(found, axis=0, initial=0.0) if found else np.zeros(len(LANDMARKS)),
        }

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sum exceeds: landmarks of an image end at 100."""
        return {"landmarks": size.rows * 100.0}

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """The standard scale."""
        return {"standard_scale": sums["landmarks"] / sums["people"]}


class Nyul(ImageByImage):
    """Landmarks of every histogram mapped to their mean over everybody."""

    name: ClassVar[str] = "nyul"
    params_type: ClassVar[type[Params]] = ImageParams
    card: ClassVar[Card] = Card(
        title="Nyul",
        summary="Maps the percentiles of every image to their mean over everybody.",
        data="images",
        by_batch=False,
        papers=(
            "Nyul, Udupa, Zhang 2000, IEEE Trans Med Imaging 19:143, doi:10.1109/42.836373",
            "Shah et al. 2011, Med Image Anal 15:267, doi:10.1016/j.media.2010.12.003",
        ),
        tissues="monotone",
        leaves="one sum over sites: 11 landmarks and a count, 96 bytes a site",
        limits=("percentiles follow the mix of tissues: atrophy counts as scanner effect",),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """One sum."""
        scale = Scale()
        return (
            Sum(
                name="landmarks",
                arrays=ARRAYS,
                at_site=scale.send,
                at_coordinator=scale.conclude,
                bounds=scale.bounds,
            ),
        )

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Map every brain; what lies outside of the mask stays."""
        scale = shared["standard_scale"]
        return each(data, lambda row, image: image.with_brain(mapped(image.brain, scale)))

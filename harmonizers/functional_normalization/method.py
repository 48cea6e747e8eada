"""Functional normalization as a harmonizer (Fortin et al. 2014, 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from motet.errors import DesignError
from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.alone import ImageByImage
from motet.harmonizers._images.common import CommonMask
from motet.harmonizers._images.control import Control, Units
from motet.harmonizers._images.each import each
from motet.harmonizers._images.quantiles import matched, quantile_function
from motet.images.images import Image, Images
from motet.images.params import RegisteredParams
from motet.phases import Step, Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site

Float = NDArray[np.float64]


class FunctionalNormalizationParams(RegisteredParams):
    """Options of functional normalization.

    Parameters
    ----------
    components : int
        Patterns of the control voxels that are taken out of the quantiles.
    control_share : float
        A voxel is a control voxel where it is CSF in this share of the people.
    control_mask : str
        Name of a mask of control voxels that every site has: ``masks/<name>.nii.gz`` in its
        folder. Without it they are found by the tissues of the images.
    control_at_most : int
        Control voxels that take part.
    points : int
        Of the grid of probabilities.
    """

    components: int = Field(default=2, ge=1, le=20)
    control_share: float = Field(default=1.0, gt=0.0, le=1.0)
    control_mask: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]*$")
    control_at_most: int = Field(default=2000, ge=10, le=20_000)
    points: int = Field(default=500, ge=11, le=10_000)

    @property
    def control(self) -> Control:
        """The control voxels, and their patterns: centred principal components."""
        return Control(
            units=Units(self.contrast, white_stripe=False),
            share=self.control_share,
            mask=self.control_mask,
            at_most=self.control_at_most,
            components=self.components,
            center=True,
        )


@dataclass(frozen=True)
class Fit:
    """The regression of quantiles on scores: ``Q_i(p) = alpha(p) + z_i beta(p) + e``."""

    params: FunctionalNormalizationParams

    def step(self) -> Sum:
        """The phase."""
        d = self.params.components + 1
        return Sum(
            name="quantiles",
            arrays=(
                ArraySpec(
                    name="dd",
                    shape=(d, d),
                    meaning="products of scores, with a column of ones, summed over images",
                ),
                ArraySpec(
                    name="dq",
                    shape=(d, self.params.points),
                    meaning="products of scores and quantiles, summed over images",
                ),
            ),
            at_site=self.send,
            at_coordinator=self.conclude,
            bounds=self.bounds,
        )

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """``D'D`` and ``D'Q`` with D = [1, Z]."""
        scores = self.params.control.scores(site.data, shared)
        D = np.column_stack([np.ones(len(scores)), scores])
        own = [quantile_function(image.brain, self.params.points) for image in site.data.each()]
        Q = np.reshape(own, (len(D), self.params.points))
        return {"dd": D.T @ D, "dq": D.T @ Q}

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums exceed."""
        scores = self.params.control.bounds_of_scores()
        D = np.hstack([1.0, scores])
        return {"dd": size.rows * D[:, None] * D, "dq": size.rows * D[:, None] * size.voxels}

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """beta, (k, points)."""
        if np.linalg.matrix_rank(sums["dd"]) < len(sums["dd"]):
            raise DesignError(
                "There are too few people for so many patterns.", do="Lower params.components."
            )
        return {"beta": np.linalg.solve(sums["dd"], sums["dq"])[1:]}


class FunctionalNormalization(ImageByImage):
    """Every image's quantiles less what its control voxels explain."""

    name: ClassVar[str] = "functional_normalization"
    params_type: ClassVar[type[Params]] = FunctionalNormalizationParams
    card: ClassVar[Card] = Card(
        title="Functional normalization",
        summary="Takes out of every image's quantiles what its control voxels explain.",
        data="registered images",
        by_batch=False,
        papers=(
            "Fortin et al. 2014, Genome Biology 15:503, doi:10.1186/s13059-014-0503-2",
            "Fortin et al. 2017, NeuroImage 161:149, doi:10.1016/j.neuroimage.2017.08.047",
        ),
        tissues="monotone",
        leaves="sums over sites: two count images, the products of at most 2,000 control voxels "
        "(32 MB), and 3 times 500 quantiles",
        limits=("expects technical variation, and no biology, in cerebrospinal fluid",),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Common mask, control voxels and their patterns, quantiles."""
        mask = CommonMask(params.coverage).step()
        return (mask, *params.control.steps(), Fit(params).step())

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """``Q - Z beta``, made rising; the image is mapped from Q to it."""
        scores = params.control.scores(data, shared)

        def change(row: int, image: Image) -> Float:
            brain = image.brain
            own = quantile_function(brain, params.points)
            target = np.maximum.accumulate(own - scores[row] @ shared["beta"])
            return image.with_brain(matched(brain, own, target))

        return each(data, change)

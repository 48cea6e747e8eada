"""RAVEL as a harmonizer (Fortin et al. 2016).

V holds everybody's voxels, one column a person; Z the scores of the k leading patterns of the
control voxels, one row a person; W the covariates. With ``gamma = (Z'Z)^-1 Z'V'``,
``V* = V - gamma' Z' + mean(V)``; with covariates gamma is that of Z in the joint regression on
[Z, W]. Where the control voxels are centred, so is Z: an intercept joins the regression, and no
mean is added, since none is taken away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motet.errors import DesignError
from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.alone import ImageByImage
from motet.harmonizers._images.common import CommonMask
from motet.harmonizers._images.each import each
from motet.harmonizers._linear.design import design_matrix
from motet.harmonizers.ravel.params import RavelParams
from motet.images.images import Image, Images
from motet.phases import Step, Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site

Float = NDArray[np.float64]
COLLINEAR = 1e-10
"""Smallest eigenvalue of the correlations of [Z, W] at which they can be told apart."""


@dataclass(frozen=True)
class Fit:
    """The regression of all voxels on scores and covariates."""

    params: RavelParams
    schema: Schema

    def step(self) -> Sum:
        """The phase."""
        d = self.params.components + len(self.schema.columns) + int(self.params.center)
        return Sum(
            name="products",
            arrays=(
                ArraySpec(
                    name="dd",
                    shape=(d, d),
                    support="cell",
                    meaning="products of scores and covariate columns, summed over images",
                ),
                ArraySpec(
                    name="dv",
                    shape=(d, "voxels"),
                    support="cell",
                    meaning="products of scores and covariate columns with voxels: loading images",
                ),
                ArraySpec(
                    name="sum_v",
                    shape=("voxels",),
                    meaning="sum of the images: their mean, times n",
                ),
            ),
            at_site=self.send,
            at_coordinator=self.conclude,
            bounds=self.bounds,
        )

    def _design(self, images: Images, shared: Arrays) -> Float:
        """``[Z, W]``, with a column of ones at the end where the control voxels are centred."""
        scores = self.params.control.scores(images, shared)
        ones = np.ones((len(scores), int(self.params.center)))
        return np.hstack([scores, design_matrix(images, self.schema), ones])

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """``D'D``, ``D'V'`` and the sum of the images, one person at a time."""
        D = self._design(site.data, shared)
        voxels = self.params.units.voxels(site.data, shared["voxels"])
        dv, total = np.zeros((D.shape[1], len(shared["voxels"]))), np.zeros(len(shared["voxels"]))
        for row in range(len(voxels)):
            own = voxels.rows_block(slice(row, row + 1))[0]
            total += own
            for j, value in enumerate(D[row]):
                dv[j] += value * own
        return {"dd": D.T @ D, "dv": dv, "sum_v": total}

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums exceed."""
        voxel = self.params.units.largest(size)
        scores = self.params.control.bounds_of_scores()
        D = np.hstack([scores, size.columns, np.ones(int(self.params.center))])
        return {
            "dd": size.rows * D[:, None] * D,
            "dv": size.rows * D[:, None] * voxel,
            "sum_v": size.rows * voxel,
        }

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """gamma, (k, voxels), and what is added back."""
        dd = sums["dd"]
        scale = np.sqrt(np.diag(dd))
        if not (scale > 0).all() or np.linalg.eigvalsh(dd / np.outer(scale, scale))[0] < COLLINEAR:
            raise DesignError(
                "The patterns of the control voxels and the covariates cannot be told apart.",
                do="Take a covariate out that follows the scanner, or lower params.components.",
            )
        gamma = np.linalg.solve(dd, sums["dv"])[: self.params.components]
        mean = sums["sum_v"] / shared["people"]
        return {"gamma": gamma, "added": np.zeros_like(mean) if self.params.center else mean}


class Ravel(ImageByImage):
    """Removes the leading patterns of control voxels from all voxels."""

    name: ClassVar[str] = "ravel"
    params_type: ClassVar[type[Params]] = RavelParams
    card: ClassVar[Card] = Card(
        title="RAVEL",
        summary="Removes patterns of technical variation seen in cerebrospinal fluid.",
        data="registered images",
        by_batch=False,
        papers=("Fortin et al. 2016, NeuroImage 132:198, doi:10.1016/j.neuroimage.2016.02.036",),
        leaves="sums over sites: two count images, the products of at most 3,000 control voxels "
        "(72 MB) or, by subspace iteration, a few sums of 0.2 MB, k + q loading images and the "
        "mean image",
        limits=(
            "images have to be registered non-linearly: patterns are of single voxels",
            "expects technical variation, and no biology, in cerebrospinal fluid",
        ),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Common mask, control voxels and their patterns, loading images."""
        mask = CommonMask(params.coverage).step()
        return (mask, *params.control.steps(), Fit(params, schema).step())

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """``V - gamma' z + mean``, in the common voxels; elsewhere only the units change."""
        scores = params.control.scores(data, shared)
        places = shared["voxels"]

        def change(row: int, image: Image) -> Float:
            data = params.units.change(image).data
            flat = np.array(data, dtype=np.float64, order="C").ravel()
            flat[places] += shared["added"] - scores[row] @ shared["gamma"]
            return flat.reshape(data.shape)

        return each(data, change)

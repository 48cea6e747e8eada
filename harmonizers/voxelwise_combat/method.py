"""Voxelwise ComBat as a harmonizer: ComBat, whose features are the common voxels of all people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.common import CommonMask
from motet.harmonizers._linear.fit import (
    Fit,
    bounds_of_moments,
    complete_moments,
    reference_steps,
)
from motet.harmonizers._linear.model import harmonized_rows, site_model
from motet.harmonizers._linear.options import Adjust, reference_batch
from motet.images.images import Images
from motet.images.params import RegisteredParams
from motet.images.voxels import voxels_of
from motet.phases import Step, Sum
from motet.releases import Arrays
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site


class VoxelwiseComBatParams(RegisteredParams):
    """Options of voxelwise ComBat: those of ComBat that make sense for voxels.

    Parameters
    ----------
    prior : {"parametric", "none"}
        One prior pool holds all voxels.
    adjust : {"location_scale", "location"}
    reference : str, optional
        A batch that stays untouched and to which the others are brought.
    """

    models_covariates: ClassVar[bool] = True

    prior: Literal["parametric", "none"] = "parametric"
    adjust: Adjust = "location_scale"
    reference: str | None = None


@dataclass(frozen=True)
class VoxelFit:
    """ComBat's fit over the common voxels."""

    fit: Fit

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """ComBat's moments; no voxel is missing for anybody."""
        sums = dict(self.fit.send_moments(_over_voxels(site, shared), shared))
        del sums["missing"]
        return sums

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums exceed: any voxel can be as bright as the brightest."""
        return bounds_of_moments(size.rows, size.columns, np.array([size.voxels]))

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """alpha, beta and var_pooled of every voxel."""
        missing = np.zeros(len(shared["voxels"]), dtype=np.int32)
        return self.fit.estimate({**sums, "missing": missing}, shared)


def _over_voxels(site: Site, shared: Arrays) -> Site:
    return site.over(voxels_of(site.data, shared["voxels"]))


class VoxelwiseComBat:
    """ComBat (Johnson 2007; Fortin 2017) on registered images, from one sum over sites."""

    name: ClassVar[str] = "voxelwise_combat"
    params_type: ClassVar[type[Params]] = VoxelwiseComBatParams
    card: ClassVar[Card] = Card(
        title="Voxelwise ComBat",
        summary="ComBat on every voxel of registered images; keeps the covariates' effects.",
        data="registered images",
        papers=(
            "Johnson, Li, Rabinovic 2007, Biostatistics 8:118, doi:10.1093/biostatistics/kxj037",
            "Fortin et al. 2017, NeuroImage 161:149, doi:10.1016/j.neuroimage.2017.08.047",
        ),
        leaves="two sums over sites: a count image of brain masks, and 8 (q + 3) bytes a voxel, "
        "whatever the number of people; with a reference batch, its intercepts and variances",
        limits=(
            "for maps whose voxels mean the same in everybody (FA, MD, density, registered and "
            "normalized T1w); not for raw images in their own space",
            "what lies outside of the common voxels stays as it is",
        ),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """The common voxels, ComBat's one sum, and the reference batch where there is one."""
        reference = reference_batch(params, schema)
        fit = Fit(params, schema, reference)
        voxels = VoxelFit(fit)
        return (
            CommonMask(params.coverage).step(),
            Sum(
                name="moments",
                arrays=complete_moments("voxels"),
                at_site=voxels.send,
                at_coordinator=voxels.conclude,
                bounds=voxels.bounds,
            ),
            *reference_steps(fit, "voxels"),
        )

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Nothing leaves an unseen site."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """gamma_star and delta_star, (K, voxels) each."""
        group = np.full(len(shared["voxels"]), -1, dtype=np.intp)
        return site_model(_over_voxels(site, shared), shared, params=params, group=group)

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Adjust the common voxels of one person after another."""
        places = shared["voxels"]
        voxels = voxels_of(data, places)
        for rows, values in harmonized_rows(voxels, model, shared, schema):
            for row, own in zip(range(rows.start, rows.stop), values, strict=True):
                image = data.image(row).data
                flat = np.array(image, dtype=np.float64, order="C").ravel()
                flat[places] = own
                yield slice(row, row + 1), flat.reshape((1, *image.shape))

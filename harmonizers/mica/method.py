"""MICA as a harmonizer (Wrobel et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.each import each, warn_of_one
from motet.harmonizers._images.mean_quantiles import MeanQuantiles, batch_quantiles
from motet.harmonizers._images.quantiles import matched
from motet.harmonizers._linear.options import named_batch
from motet.harmonizers.mica.params import MicaParams
from motet.harmonizers.mica.travelers import Travelers, own_scans
from motet.images.images import Image, Images
from motet.phases import Step
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site


class Mica:
    """One warp of intensities a scanner: ``h = Q_target(F_scanner)``.

    With travelers, F and Q are those of the same person on both scanners, and the warps of
    several travelers are averaged. Without, F is the scanner's mean distribution and Q that of
    everybody: people's own differences remain, those between the groups scanned do not.
    """

    name: ClassVar[str] = "mica"
    params_type: ClassVar[type[Params]] = MicaParams
    card: ClassVar[Card] = Card(
        title="MICA",
        summary="One monotone warp of intensities a scanner, from travelers or from everybody.",
        data="images",
        papers=("Wrobel et al. 2020, NeuroImage 223:117242, doi:10.1016/j.neuroimage.2020.117242",),
        tissues="monotone",
        leaves="without travelers one sum over sites, 8 kB each; with travelers the target site "
        "publishes 1,000 quantiles of each of them, which needs their consent",
        limits=(
            "without travelers, what differs between the groups of people scanned is taken for "
            "the scanner's",
        ),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """The mean of everybody's quantiles, or those of the travelers at the target site."""
        if params.to is None:
            return (MeanQuantiles(params.points).step(),)
        target = named_batch(params.to, schema, key="params.to")
        assert target is not None
        return (Travelers(params, target).step(),)

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Nothing leaves an unseen site; with travelers, it needs its own scan of one."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """Source and target of every batch's warp, (K, points) each."""
        if params.to is None:
            warn_of_one(site)
            source = [site.keep[f"quantiles.{b}"] for b in site.batches if _has(site, b)]
            if len(source) < len(site.batches):
                own = batch_quantiles(site.data, params.points)
                source = [own[batch][1] for batch in site.batches]
            target = [shared["target"]] * len(source)
        else:
            to = named_batch(params.to, site.schema, key="params.to")
            assert to is not None
            itself = np.arange(float(params.points))
            pairs = [
                (itself, itself)
                if (site.name, batch) == (to.site, to.name)
                else own_scans(site, batch, params, shared)
                for batch in site.batches
            ]
            source, target = [s for s, _ in pairs], [t for _, t in pairs]
        shape: tuple[int, int] = (len(site.batches), params.points)
        return SiteModel(
            site=site.name,
            batches=site.batches,
            arrays={"source": np.reshape(source, shape), "target": np.reshape(target, shape)},
        )

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Warp every brain; what lies outside of the mask stays."""
        source, target = model.arrays["source"], model.arrays["target"]

        def change(row: int, image: Image) -> NDArray[Any]:
            k = model.batches.index(str(data.batch[row]))
            if np.array_equal(source[k], target[k]):
                return image.data.astype(np.float64)
            return image.with_brain(matched(image.brain, source[k], target[k]))

        return each(data, change)


def _has(site: Site, batch: str) -> bool:
    """Whether the fit kept the batch's mean quantile function."""
    return f"quantiles.{batch}" in site.keep

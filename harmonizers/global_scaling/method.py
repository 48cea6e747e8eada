"""Global scaling as a harmonizer (Fortin et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motet.errors import DataError
from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.common import CommonMask
from motet.harmonizers._images.each import each, rescaled, warn_of_one
from motet.images.images import Images
from motet.images.params import RegisteredParams
from motet.images.voxels import voxels_of
from motet.phases import Step, Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site

MEAN = (
    ArraySpec(name="images", shape=(), dtype="int64", least=0, meaning="number of images"),
    ArraySpec(
        name="sum_y", shape=("voxels",), meaning="sum of the images: the mean image, times n"
    ),
)


@dataclass(frozen=True)
class Mean:
    """The mean image over everybody."""

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Sum over the site's people; the batches' own means stay."""
        n, total = 0, np.zeros(len(shared["voxels"]))
        for batch, (count, mean) in batch_means(site.data, shared).items():
            site.keep[f"mean.{batch}"] = mean
            n, total = n + count, total + count * mean
        return {"images": np.asarray(n, dtype=np.int64), "sum_y": total}

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sum exceeds."""
        return {"sum_y": size.rows * size.voxels}

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """The mean image."""
        return {"mean": sums["sum_y"] / sums["images"]}


def batch_means(images: Images, shared: Arrays) -> dict[str, tuple[int, NDArray[np.float64]]]:
    """Batch -> number of images, and their mean over the common voxels, (voxels,) float64."""
    found = {}
    for batch in images.batches:
        part = voxels_of(images, shared["voxels"]).of_batch(batch)
        total = np.zeros(len(shared["voxels"]))
        for row in range(len(part)):
            total += part.rows_block(slice(row, row + 1))[0]
        found[batch] = (len(part), total / len(part))
    return found


class GlobalScaling:
    """Every batch's mean image brought onto the mean image of all, by one line."""

    name: ClassVar[str] = "global_scaling"
    params_type: ClassVar[type[Params]] = RegisteredParams
    card: ClassVar[Card] = Card(
        title="Global scaling",
        summary="One shift and one scale a scanner, from its mean image and that of all.",
        data="registered images",
        papers=("Fortin et al. 2017, NeuroImage 161:149, doi:10.1016/j.neuroimage.2017.08.047",),
        tissues="always",
        leaves="two sums over sites: a count image of brain masks, and the mean image times n",
        limits=("a shift and a scale are all it corrects", "mean images follow the people scanned"),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """The common mask, then the mean image."""
        mean = Mean()
        return (
            CommonMask(params.coverage).step(),
            Sum(
                name="mean",
                arrays=MEAN,
                at_site=mean.send,
                at_coordinator=mean.conclude,
                bounds=mean.bounds,
            ),
        )

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Nothing leaves an unseen site: its line follows from its own mean image."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """Shift a and scale b of every batch, (K,) each: ``mean_s = a + b mean`` over voxels."""
        warn_of_one(site)
        own = {batch: site.keep.get(f"mean.{batch}") for batch in site.batches}
        if any(mean is None for mean in own.values()):
            own = {batch: mean for batch, (_, mean) in batch_means(site.data, shared).items()}
        lines = [_line(shared["mean"], own[batch], site, batch) for batch in site.batches]
        a, b = np.reshape(lines, (len(lines), 2)).T
        return SiteModel(site=site.name, batches=site.batches, arrays={"a": a, "b": b})

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """``(y - a) / b``, the whole image."""
        k = [model.batches.index(str(name)) for name in data.batch]
        a, b = model.arrays["a"], model.arrays["b"]
        return each(data, lambda row, image: rescaled(image, float(a[k[row]]), float(b[k[row]])))


def _line(x: NDArray[Any], y: Any, site: Site, batch: str) -> tuple[float, float]:
    """Least squares of y on x with an intercept."""
    centred = x - x.mean()
    b = float(centred @ (y - y.mean()) / (centred @ centred))
    if not b > 0:
        raise DataError(
            f"The mean image of batch '{batch}' does not rise with that of all people.",
            do="Check that its images are registered and of the right contrast.",
            site=site.name,
        )
    return float(y.mean() - b * x.mean()), b

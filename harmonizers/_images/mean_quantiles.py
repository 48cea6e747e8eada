"""The phase that averages quantile functions over everybody."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers._images.quantiles import quantile_function
from motet.images.images import Images
from motet.phases import Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.site import Site

Float = NDArray[np.float64]


@dataclass(frozen=True)
class MeanQuantiles:
    """Mean of everybody's quantile function: the barycentre of their distributions.

    Parameters
    ----------
    points : int
        Of the grid of probabilities.
    """

    points: int

    def step(self) -> Sum:
        """The phase; its result is ``target``, (points,)."""
        return Sum(
            name="quantiles",
            arrays=(
                ArraySpec(
                    name="images", shape=(), dtype="int64", least=0, meaning="number of images"
                ),
                ArraySpec(
                    name="sum_q",
                    shape=(self.points,),
                    meaning="sum of the quantile functions of the images' intensities",
                ),
            ),
            at_site=self.send,
            at_coordinator=self.conclude,
            bounds=self.bounds,
        )

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Sum over the site's images; the means of its batches stay."""
        n, total = 0, np.zeros(self.points)
        for batch, (count, mean) in batch_quantiles(site.data, self.points).items():
            site.keep[f"quantiles.{batch}"] = mean
            n, total = n + count, total + count * mean
        return {"images": np.asarray(n, dtype=np.int64), "sum_q": total}

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sum exceeds."""
        return {"sum_q": size.rows * size.voxels}

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """The mean."""
        return {"target": sums["sum_q"] / sums["images"]}


def batch_quantiles(images: Images, points: int) -> dict[str, tuple[int, Float]]:
    """Batch -> number of images, and the mean of their quantile functions, (points,)."""
    found = {}
    for batch in images.batches:
        part = images.of_batch(batch)
        assert isinstance(part, Images)
        own = [quantile_function(image.brain, points) for image in part.each()]
        found[batch] = (len(own), np.mean(own, axis=0))
    return found

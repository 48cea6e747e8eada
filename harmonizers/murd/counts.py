"""How many slices there are, and how bright every scanner's images are: the first sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motet.errors import DataError, DesignError
from motet.harmonizers._images.numbers import batch_numbers
from motet.harmonizers.murd.params import MurdParams
from motet.harmonizers.murd.slices import between, cached
from motet.phases import Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.site import Site

ARRAYS = (
    ArraySpec(
        name="slices", shape=(), dtype="int64", least=0, meaning="slices with two neighbours"
    ),
    ArraySpec(
        name="images",
        shape=("batches",),
        dtype="int64",
        least=0,
        meaning="number of images of every scanner",
    ),
    ArraySpec(
        name="level",
        shape=("batches",),
        meaning="sum of every scanner's images' 99.5th percentiles within the brain",
    ),
)


@dataclass(frozen=True)
class Counts:
    """The sum, and what is made of it.

    Parameters
    ----------
    params : MurdParams
    """

    params: MurdParams

    def step(self) -> Sum:
        """The phase."""
        return Sum(
            name="images",
            arrays=ARRAYS,
            at_site=self.send,
            at_coordinator=self.conclude,
            bounds=self.bounds,
        )

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Counts and levels of the site's scanners."""
        cache = cached(site, self.params)
        batch, size = batch_numbers(site.data, site.schema), site.schema.sizes["batches"]
        if not len(between(cache)):
            raise DataError(
                "Nobody here has three slices in a row that show enough brain.",
                do="Choose other planes (params.planes), or smaller params.pixels.",
                site=site.name,
            )
        level = np.bincount(batch, weights=cache.level[:, 0], minlength=size)
        return {
            "slices": np.asarray(len(between(cache)), dtype=np.int64),
            "images": np.bincount(batch, minlength=size).astype(np.int64),
            "level": level.astype(np.float64),
        }

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums exceed."""
        return {"level": size.rows * size.voxels}

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """All slices, and the mean level of every scanner; 0 where nobody was in the fit."""
        if not int(sums["slices"]):
            raise DesignError("Nobody has three slices in a row that show enough brain.")
        level = sums["level"] / np.maximum(sums["images"], 1)
        return {"slices": sums["slices"], "level": np.asarray(level, dtype=np.float64)}

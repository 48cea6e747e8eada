"""What is known before the training: how many slices there are, and how bright scanners' images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motet.errors import DataError
from motet.harmonizers._images.numbers import batch_numbers
from motet.harmonizers.murd.params import MurdParams
from motet.harmonizers.murd.slices import between, cached
from motet.phases import Publish, Step, Sum
from motet.releases import Arrays, ArraySpec
from motet.site import Site

SLICES = ArraySpec(
    name="slices", shape=(), dtype="int64", least=0, meaning="slices with two neighbours"
)
LEVEL = ArraySpec(
    name="level",
    shape=("batches",),
    meaning="mean over each own scanner's images of the brain's 99.5th percentile; 0 of others",
)


@dataclass(frozen=True)
class Counts:
    """A sum, and what every scanner tells of itself: all may be brought to it.

    Parameters
    ----------
    params : MurdParams
    """

    params: MurdParams

    def steps(self) -> Sequence[Step]:
        """Both phases."""
        return (
            Sum(
                name="slices",
                arrays=(SLICES,),
                at_site=self.send_slices,
                at_coordinator=self.total,
            ),
            Publish(
                name="level",
                arrays=(LEVEL,),
                at_site=self.send_levels,
                at_coordinator=self.levels,
            ),
        )

    def send_slices(self, site: Site, shared: Arrays) -> Arrays:
        """Number of the site's slices.

        Raises
        ------
        DataError
            When there are none.
        """
        count = len(between(cached(site, self.params)))
        if not count:
            raise DataError(
                "Nobody here has three slices in a row that show enough brain.",
                do="Choose other planes (params.planes), or smaller params.pixels.",
                site=site.name,
            )
        return {"slices": np.asarray(count, dtype=np.int64)}

    def total(self, sums: Arrays, shared: Arrays) -> Arrays:
        """All slices."""
        return {"slices": sums["slices"]}

    def send_levels(self, site: Site, shared: Arrays) -> Arrays:
        """Mean level of each of the site's scanners; 0 where nobody of it is in the fit."""
        batch, size = batch_numbers(site.data, site.schema), site.schema.sizes["batches"]
        level = cached(site, self.params).level[:, 0]
        sums = np.bincount(batch, weights=level, minlength=size)
        return {"level": sums / np.maximum(np.bincount(batch, minlength=size), 1)}

    def levels(self, published: Arrays, shared: Arrays) -> Arrays:
        """One level a scanner: each is told by its site alone."""
        found = [np.asarray(published[name]) for name in sorted(published)]
        return {"level": np.sum(found, axis=0)}

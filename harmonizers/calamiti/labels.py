"""How many slices every scanner has: of whom the critic's labels are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motet.errors import DesignError
from motet.harmonizers._images.numbers import batch_numbers, label_order
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.slices import cached
from motet.harmonizers.calamiti.vgg import check_weights
from motet.phases import Sum
from motet.releases import Arrays, ArraySpec
from motet.schema import Schema
from motet.site import Site

SLICES = ArraySpec(
    name="slices",
    shape=("batches",),
    dtype="int64",
    least=0,
    meaning="slices of every scanner's people: frequencies of the critic's labels",
)


@dataclass(frozen=True)
class Labels:
    """The sum, and what is made of it.

    Parameters
    ----------
    params : CalamitiParams
    schema : Schema
    """

    params: CalamitiParams
    schema: Schema

    def step(self) -> Sum:
        """The phase."""
        return Sum(name="slices", arrays=(SLICES,), at_site=self.send, at_coordinator=self.conclude)

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Slices of each of the site's scanners."""
        check_weights(site, self.params)
        batch = batch_numbers(site.data, site.schema)[cached(site, self.params).row]
        count = np.bincount(batch, minlength=site.schema.sizes["batches"])
        return {"slices": count.astype(np.int64)}

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """All slices, and the cumulated frequencies of (scanner, contrast), (2 K,)."""
        total = int(sums["slices"].sum())
        if not total:
            raise DesignError("Nobody has a slice that shows enough brain.")
        share = np.repeat(sums["slices"][label_order(self.schema)] / (2.0 * total), 2)
        return {"slices": np.asarray(total, dtype=np.int64), "cumulated": np.cumsum(share)}

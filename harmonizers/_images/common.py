"""The voxels that all people of a study have in common: the first step of registered methods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motet.errors import DesignError
from motet.phases import Sum
from motet.releases import Arrays, ArraySpec, Size
from motet.site import Site

MASK = (
    ArraySpec(name="people", shape=(), dtype="int64", least=0, meaning="number of images"),
    ArraySpec(
        name="inside",
        shape=("grid",),
        dtype="int32",
        least=0,
        meaning="images within whose brain mask the voxel lies",
    ),
)


@dataclass(frozen=True)
class CommonMask:
    """Voxels within the brain masks of a share of the people.

    Parameters
    ----------
    coverage : float
    """

    coverage: float

    def step(self) -> Sum:
        """The phase; it sets the size ``voxels``."""
        return Sum(
            name="mask",
            arrays=MASK,
            at_site=self.send,
            at_coordinator=self.conclude,
            sets=(Size(name="voxels", at_most="grid"),),
        )

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Sum of the site's masks."""
        inside = np.zeros(site.schema.sizes["grid"], dtype=np.int32)
        for image in site.data.each():
            inside += image.mask.ravel()
        return {"people": np.asarray(len(site.data), dtype=np.int64), "inside": inside}

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Places of the common voxels in the flattened grid."""
        least = max(1, int(np.ceil(self.coverage * float(sums["people"]) - 1e-9)))
        voxels = np.flatnonzero(sums["inside"] >= least)
        if not len(voxels):
            raise DesignError(
                "No voxel lies within everybody's brain mask.",
                do="Check that the images are registered, or lower params.coverage.",
            )
        return {"voxels": voxels.astype(np.int64), "people": sums["people"]}

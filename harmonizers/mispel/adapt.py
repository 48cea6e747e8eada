"""A scanner that came later: its unit is fitted to what the travelers' scans have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import ModelError, listed
from motet.harmonizers.mispel.params import MispelParams
from motet.harmonizers.mispel.slices import Shape, Visits, scans_of, stack
from motet.harmonizers.mispel.training import Training
from motet.harmonizers.mispel.units import UNIT
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site

KNOWN = "model/"
"""First part of the names of a site's own finished model, where a new scanner joins it."""


@dataclass(frozen=True)
class Adapt:
    """The training of a new unit, consensus and mean images of the travelers frozen.

    Parameters
    ----------
    params : MispelParams
    schema : Schema
    """

    params: MispelParams
    schema: Schema

    def train(self, site: Site, shared: Arrays) -> None:
        """Train a unit for every new scanner of the site, and keep it.

        Raises
        ------
        ModelError
            Where the site has no consensus, or no scan of a traveler on the new scanner.
        """
        common = {
            name.removeprefix(KNOWN): array
            for name, array in site.keep.items()
            if name.startswith((f"{KNOWN}consensus/", f"{KNOWN}values/"))
        }
        for batch in site.batches:
            self._unit(site, batch, common)

    def _unit(self, site: Site, batch: str, common: dict[str, NDArray[Any]]) -> None:
        keys = sorted(name.partition("/")[2] for name in common if name.startswith("consensus/"))
        scans = scans_of(site, (batch,))
        here = [Visits(key, scans[key]) for key in keys if key in scans]
        if not here:
            raise self._refused(site, batch, keys)
        training, shape = Training(self.params, self.schema), Shape.of(self.params, self.schema)
        cut = stack(site, [(visits, (batch,)) for visits in here], shape, (batch,))
        # Signs count what the mean image changes by, and that stays as it is.
        signs = {
            name.replace("values/", "signs/", 1): np.zeros(array.shape, dtype=np.int16)
            for name, array in common.items()
            if name.startswith("values/")
        }
        # All but the unit is of this training, and not the site's to keep.
        own = site.over(site.data)
        own.keep = {**common, **signs}
        bench = training.bench_of(site, cut, shape, (batch,))
        for stage in ("embedding", "harmonization"):
            # What is kept is of the last exchange.
            last = training.turns(stage) - 1
            training.train(own, bench, stage, training.epochs(stage), turn=last)
        site.keep[f"{UNIT}{batch}"] = own.keep[f"{UNIT}{batch}"]

    def _refused(self, site: Site, batch: str, keys: list[str]) -> ModelError:
        if self.params.mode != "sites":
            return ModelError(
                f"There is no unit of scanner '{batch}': units are trained at "
                f"'{self.params.hub}', from scans of the same people on all scanners.",
                do="Have travelers scanned on it, give their scans to that site, and run the study "
                "again.",
                site=site.name,
            )
        if not keys:
            return ModelError(
                f"There is no unit of scanner '{batch}', and nothing here that one could be fitted "
                "to: what the travelers' scans have in common is known to the sites that scanned "
                "them, and to nobody else.",
                do="Have travelers scanned on it and run the study again with this site.",
                site=site.name,
            )
        return ModelError(
            f"There is no unit of scanner '{batch}': nobody of {listed(keys)} was scanned on it.",
            do="Have some of them scanned on it: its unit is fitted to what their scans have in "
            "common.",
            site=site.name,
        )

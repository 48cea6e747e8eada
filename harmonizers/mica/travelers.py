"""Travelers: the same person's distribution at the target site, and at one's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.errors import DataError
from motet.harmonizers._images.quantiles import matched, quantile_function
from motet.harmonizers.mica.params import MicaParams
from motet.phases import Publish, Who
from motet.releases import Arrays, ArraySpec
from motet.site import Site

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Travelers:
    """The phase in which the target site publishes its scans' quantile functions."""

    params: MicaParams

    def step(self) -> Publish:
        """The phase: one array a traveler."""
        target = self.params.to or ""
        return Publish(
            name="travelers",
            who=Who(site=target),
            arrays=tuple(
                ArraySpec(
                    name=traveler,
                    shape=(self.params.points,),
                    support="person",
                    meaning=f"quantiles of the intensities of the traveler {traveler}",
                )
                for traveler in self.params.travelers
            ),
            at_site=self.send,
        )

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """The travelers' quantile functions here."""
        return {
            traveler: np.mean(_of(site, traveler, self.params, batch=None), axis=0)
            for traveler in self.params.travelers
        }


def own_scans(site: Site, batch: str, params: MicaParams, shared: Arrays) -> tuple[Float, Float]:
    """Source and target of a batch's warp, (points,) each: the travelers' warps averaged.

    Every traveler's warp ``Q_target(F_own)`` is read at the quantiles of the mean of the
    travelers' own distributions.
    """
    warps = []
    own = [
        (traveler, scan)
        for traveler in params.travelers
        if traveler in site.travelers
        for scan in _of(site, traveler, params, batch=batch)
    ]
    if not own:
        raise DataError(
            f"No traveler was scanned in batch '{batch}', so there is no way from it to "
            f"'{params.to}'.",
            do="Name the travelers of this site in its travelers.tsv, or harmonize without 'to'.",
            site=site.name,
        )
    source: Float = np.mean([scan for _, scan in own], axis=0)
    warps = [matched(source, scan, shared[f"{params.to}/{traveler}"]) for traveler, scan in own]
    return source, np.maximum.accumulate(np.mean(warps, axis=0))


def _of(site: Site, traveler: str, params: MicaParams, *, batch: str | None) -> list[Float]:
    """Quantile functions of a traveler's scans at a site."""
    if traveler not in site.travelers:
        raise DataError(
            f"The traveler '{traveler}' is not known here.",
            do="Name the person in travelers.tsv, or leave the key out of params.travelers.",
            site=site.name,
            file="travelers.tsv",
        )
    person = site.travelers[traveler]
    images = site.data
    rows = [
        row
        for row in range(len(images))
        if images.people[row] == person and batch in (None, str(images.batch[row]))
    ]
    if not rows and batch is None:
        raise DataError(
            f"The traveler '{traveler}' ({person}) has no image here.",
            do="Add the image, or leave the key out of params.travelers.",
            site=site.name,
            person=person,
        )
    return [quantile_function(images.image(row).brain, params.points) for row in rows]

"""Travelers: the same person's distribution at the target site, and at one's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.errors import DataError, listed
from motet.harmonizers._images.quantiles import matched, quantile_function
from motet.harmonizers.mica.params import MicaParams
from motet.phases import Publish, Who
from motet.releases import Arrays, ArraySpec
from motet.schema import Batch
from motet.site import Site

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Travelers:
    """The phase in which the target's site publishes its scans' quantile functions."""

    params: MicaParams
    target: Batch

    def step(self) -> Publish:
        """The phase: one array a traveler."""
        return Publish(
            name="travelers",
            who=Who(site=self.target.site),
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
            at_coordinator=self.conclude,
        )

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """The travelers' quantile functions on the target scanner."""
        found = {}
        for traveler in self.params.travelers:
            _refuse_without_consent(site, traveler)
            scans = _of(site, traveler, self.params, batch=self.target.name)
            if not scans:
                raise DataError(
                    f"The traveler '{traveler}' ({site.data.travelers[traveler]}) has no image of "
                    f"batch '{self.target.name}'.",
                    do="Add the image, or leave the key out of params.travelers.",
                    site=site.name,
                    person=site.data.travelers[traveler],
                )
            found[traveler] = np.mean(scans, axis=0)
        return found

    def conclude(self, published: Arrays, shared: Arrays) -> Arrays:
        """The same, by traveler."""
        site = self.target.site
        return {f"traveler/{t}": published[f"{site}/{t}"] for t in self.params.travelers}


def _refuse_without_consent(site: Site, traveler: str) -> None:
    if traveler in site.travelers and traveler not in site.data.consented:
        raise DataError(
            f"The traveler '{traveler}' has not agreed that quantiles of a scan leave this site.",
            do="Where the person has, say so in travelers.tsv: a column 'consent' with the date.",
            site=site.name,
            file="travelers.tsv",
            person=site.travelers[traveler],
        )


def own_scans(site: Site, batch: str, params: MicaParams, shared: Arrays) -> tuple[Float, Float]:
    """Source and target of a batch's warp, (points,) each: the travelers' warps averaged.

    Every traveler's warp ``Q_target(F_own)`` is read at the quantiles of the mean of the
    travelers' own distributions.
    """
    own = [
        (traveler, scan)
        for traveler in params.travelers
        if traveler in site.travelers
        for scan in _of(site, traveler, params, batch=batch)
    ]
    used = {traveler for traveler, _ in own}
    if used and (absent := [t for t in params.travelers if t not in used]):
        by = listed(sorted(used))
        site.warn(f"Batch '{batch}' has no scan of {listed(absent)}: its warp is that of {by}.")
    if not own:
        raise DataError(
            f"No traveler was scanned in batch '{batch}', so there is no way from it to "
            f"'{params.to}'.",
            do="Name the travelers of this site in its travelers.tsv, or harmonize without 'to'.",
            site=site.name,
        )
    source: Float = np.mean([scan for _, scan in own], axis=0)
    warps = [matched(source, scan, shared[f"traveler/{traveler}"]) for traveler, scan in own]
    return source, np.maximum.accumulate(np.mean(warps, axis=0))


def _of(site: Site, traveler: str, params: MicaParams, *, batch: str) -> list[Float]:
    """Quantile functions of a traveler's scans in a batch."""
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
        if images.people[row] == person and images.batch[row] == batch
    ]
    return [quantile_function(images.image(row).brain, params.points) for row in rows]

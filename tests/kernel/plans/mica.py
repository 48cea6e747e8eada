"""MICA (Wrobel 2020): a traveler's quantile function goes to one site, sealed to its key.

The target site sends it; the source maps its own scan of the same person and keeps the warp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from kernel.plans import Declared, declared
from motet.harmonizer import Card, Params
from motet.phases import Local, Publish, Step, Who
from motet.releases import Arrays, ArraySpec
from motet.schema import Schema
from motet.site import Site


class MicaParams(Params):
    """Options of MICA. ``travelers`` are public keys; ``largest`` bounds scaled intensities."""

    travelers: tuple[str, ...] = ("t1",)
    to: str = ""
    source: str = ""
    grid: int = 1_000
    largest: float = 4_000.0


@dataclass(frozen=True)
class Fit:
    """The callables of MICA."""

    params: MicaParams

    def send_quantiles(self, site: Site, shared: Arrays) -> Arrays:
        """Intensity quantiles of the voxels off the background, on the public grid."""
        declared()

    def keep_warp(self, site: Site, shared: Arrays) -> None:
        """``h = F_target^{-1} o F_source`` of every traveler, averaged over travelers."""
        declared()


class Mica(Declared):
    """Maps the intensities of one site to another's by people scanned at both."""

    name: ClassVar[str] = "mica"
    params_type: ClassVar[type[Params]] = MicaParams
    card: ClassVar[Card] = Card(
        title="MICA",
        summary="Matches intensity distributions of people scanned at two sites.",
        data="images",
        papers=("Wrobel et al. 2020, NeuroImage 223:117242",),
        leaves="the quantile function of each traveler, to one site, sealed to its key",
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """One sealed release of one array a traveler; the warp stays at the source."""
        fit = Fit(params)
        return (
            Publish(
                name="quantiles",
                who=Who(site=params.to),
                to=Who(site=params.source),
                sealed="recipient",
                at_site=fit.send_quantiles,
                arrays=tuple(
                    ArraySpec(
                        name=f"{traveler}/quantiles",
                        shape=(params.grid,),
                        dtype="float32",
                        support="person",
                        least=0,
                        bound=params.largest,
                        meaning=f"intensity quantiles of the traveler {traveler}",
                    )
                    for traveler in params.travelers
                ),
            ),
            Local(name="warp", who=Who(site=params.source), at_site=fit.keep_warp),
        )

"""Sums that the coordinator sees over sites only: it adds what it cannot read, then masks come off.

Bonawitz et al. 2017 (doi:10.1145/3133956.3133982); see :mod:`motet.secure`. The integers' sum is
exact, and differs from that of the numbers by half a unit of the scale a site.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from motet.phases import Sum
from motet.releases import Arrays, bind
from motet.secure.declared import summed
from motet.secure.total import total
from motet.strategies.rounds import Ask


def secure_sum(phase: Sum, ask: Ask, shared: Arrays) -> Arrays:
    """Ask every site for its masked arrays, then for their masks, and conclude from the sum."""
    return phase.conclude(secure_total(phase, ask, shared), shared)


def secure_total(phase: Sum, ask: Ask, shared: Arrays) -> dict[str, NDArray[Any]]:
    """What the sites' arrays come to."""
    circle, masked = ask.masked(phase, shared)
    totals = total(circle, masked, ask.revealed(circle, masked))
    bounds = ask.bounds(phase, shared)
    specs = sorted(phase.arrays, key=lambda spec: spec.name)
    named = {
        spec.name: array.reshape(bind(spec.shape, ask.sizes))
        for spec, array in zip(specs, totals, strict=True)
    }
    return summed(named, specs, bounds, sites=len(circle.members))

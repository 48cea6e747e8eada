"""Declared arrays in the ring and back: one scale an entry, from public bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import SecureSumError
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds
from motet.secure.ring import counts, exponents, from_ring, to_ring


def masked_specs(specs: Sequence[ArraySpec]) -> tuple[ArraySpec, ...]:
    """The declaration of the same arrays as they look masked: any integers of their shapes."""
    return tuple(
        replace(spec, dtype=_width(spec), least=None, bound=None, moved_by_one_person=None)
        for spec in specs
    )


def _width(spec: ArraySpec) -> str:
    """What has 16 or 32 bits keeps them: masking must not double what is sent."""
    dtype = np.dtype(spec.dtype)
    if dtype.itemsize == 2:
        return "uint16"
    return "uint32" if dtype.itemsize <= 4 else "uint64"


def _exponent(spec: ArraySpec, bounds: Bounds, sites: int) -> NDArray[np.int64] | int:
    if np.dtype(spec.dtype).kind in "iub":
        return 0
    return exponents(_bound(spec, bounds), sites, dtype=_width(spec))


def _bound(spec: ArraySpec, bounds: Bounds) -> NDArray[np.float64]:
    """The phase's bound of an array, or the one that is declared with it."""
    given = bounds.get(spec.name, spec.bound)
    if given is None or isinstance(given, str):
        raise SecureSumError(f"'{spec.name}' has no public bound, so it cannot be masked.")
    bound = np.asarray(given, dtype=np.float64)
    if not np.isfinite(bound).all():
        raise SecureSumError(f"The public bound of '{spec.name}' is not finite.")
    return bound


def hidden(
    arrays: Arrays, specs: Sequence[ArraySpec], bounds: Bounds, *, sites: int
) -> dict[str, NDArray[Any]]:
    """Arrays as integers of the ring, to be masked in place.

    Raises
    ------
    SecureSumError
        Names the array of which an entry is beyond its public bound.
    """
    found = {}
    for spec in specs:
        exponent = _exponent(spec, bounds, sites)
        if not isinstance(exponent, int):
            # Not "<=" alone: what is not finite is beyond everything.
            within = np.abs(arrays[spec.name]) <= _bound(spec, bounds) * (1 + 1e-9)
            if not within.all():
                raise SecureSumError(f"'{spec.name}' holds a value beyond its public bound.")
        try:
            found[spec.name] = to_ring(arrays[spec.name], exponent, sites=sites, dtype=_width(spec))
        except SecureSumError as error:
            raise SecureSumError(f"'{spec.name}': {error.what}", do=error.do) from error
    return found


def summed(
    totals: Mapping[str, NDArray[Any]], specs: Sequence[ArraySpec], bounds: Bounds, *, sites: int
) -> dict[str, NDArray[Any]]:
    """What the totals mean: float64, and int64 where counts were summed.

    Raises
    ------
    SecureSumError
        When a total is beyond what so many sites can come to: then masks are left.
    """
    found: dict[str, NDArray[Any]] = {}
    for spec in specs:
        exponent = _exponent(spec, bounds, sites)
        if isinstance(exponent, int):
            array: NDArray[Any] = counts(totals[spec.name])
            possible = True
        else:
            array = from_ring(totals[spec.name], exponent)
            most = sites * _bound(spec, bounds)
            possible = bool((np.abs(array) <= most * (1 + 1e-6) + 1e-300).all())
        if not possible or (spec.least is not None and array.size and array.min() < spec.least):
            raise SecureSumError(
                f"The masks of '{spec.name}' do not come off: a site sent what does not belong to "
                "this sum.",
                do="Run the study again; where it happens again, leave sites out one by one.",
            )
        found[spec.name] = array
    return found

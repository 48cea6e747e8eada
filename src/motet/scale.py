"""How large the numbers of a study are, publicly and roughly: where secure sums take room from.

A secure sum works with integers of 64 bits, so every entry needs a scale that all sites know and
that no site's entry exceeds. Sites say with their description by which power of 4 their largest
numbers are bounded: feature by feature, so that a thickness of 2 keeps its digits beside a volume
of five million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import SchemaError

Float = NDArray[np.float64]

SMALLEST, LARGEST = -64, 99
"""Powers of 4. What is smaller than the first counts as that; the squares of what is larger than
the last could not be summed either."""

UNITS = 4096.0
"""What a method makes of images is in units of its own (standard deviations, shares of the scale
of another image). None known goes beyond this."""


EVERYBODY = slice(None)
AT_ONCE = 128
"""Columns looked at at a time: large tables lie on a disk."""


def power(values: Any) -> int:
    """The smallest power of 4 that bounds all `values` in absolute value, missing ones aside."""
    found = np.abs(np.asarray(values, dtype=np.float64))
    largest = float(found.max(initial=0.0, where=np.isfinite(found)))
    return _power(largest)


def powers(values: NDArray[Any], rows: NDArray[np.intp] | slice = EVERYBODY) -> tuple[int, ...]:
    """:func:`power` of every column, over some rows."""
    size = np.zeros(values.shape[1])
    for start in range(0, values.shape[1], AT_ONCE):
        part = values[rows, start : start + AT_ONCE]
        there = np.isfinite(part)
        size[start : start + AT_ONCE] = np.maximum(
            part.max(axis=0, initial=0.0, where=there), -part.min(axis=0, initial=0.0, where=there)
        )
    return tuple(map(_power, size.tolist()))


def _power(largest: float) -> int:
    if not largest > 4.0**SMALLEST:
        return SMALLEST
    # From the number's own exponent: a logarithm could come out one too small.
    exponent = -(-int(np.frexp(largest)[1]) // 2)
    return exponent - 1 if largest <= 4.0 ** (exponent - 1) else exponent


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Powers of 4 that bound the numbers of a site, or of all sites.

    Attributes
    ----------
    rows : int
        Of how many rows there are at one site.
    features : tuple of int
        Of every feature's values, in native units.
    covariates : tuple of int
        Of every covariate's, and then of every biology column's; 0 for a categorical one.
    voxels : int
        Of images: of their intensities.
    """

    rows: int
    features: tuple[int, ...]
    covariates: tuple[int, ...]
    voxels: int = 0

    def within(self, other: Scale) -> bool:
        """Whether nothing here is larger than the other says."""
        pairs = (
            ((self.rows,), (other.rows,)),
            (self.features, other.features),
            (self.covariates, other.covariates),
            ((self.voxels,), (other.voxels,)),
        )
        return all(
            len(own) == len(its) and all(a <= b for a, b in zip(own, its, strict=True))
            for own, its in pairs
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "rows": self.rows,
            "features": list(self.features),
            "covariates": list(self.covariates),
            "voxels": self.voxels,
        }

    @classmethod
    def from_json(cls, document: Any) -> Scale:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When it is none.
        """
        try:
            rows, voxels = document["rows"], document["voxels"]
            features, covariates = tuple(document["features"]), tuple(document["covariates"])
        except (KeyError, TypeError) as error:
            raise SchemaError("A description tells of no scale that can be read.") from error
        found = (rows, voxels, *features, *covariates)
        if any(type(one) is not int or not SMALLEST <= one <= LARGEST for one in found):
            raise SchemaError("The scale of a description is none.")
        return cls(rows=rows, features=features, covariates=covariates, voxels=voxels)


def largest(scales: Iterable[Scale]) -> Scale:
    """What bounds all of several sites."""
    found = list(scales)
    return Scale(
        rows=max(one.rows for one in found),
        features=tuple(map(max, zip(*(one.features for one in found), strict=True))),
        covariates=tuple(map(max, zip(*(one.covariates for one in found), strict=True))),
        voxels=max(one.voxels for one in found),
    )


@dataclass(frozen=True, kw_only=True)
class Magnitudes:
    """Public bounds on absolute values, for a phase that says how large its sums can become.

    Attributes
    ----------
    rows : float
        Rows of one site.
    features : (p,) float64
        In native units.
    columns : (q,) float64
        Design columns of the method's covariates.
    judged_columns : (Q,) float64
        Those, and the biology columns.
    voxels : float
        Intensities of images as they are.
    """

    rows: float
    features: Float
    columns: Float
    judged_columns: Float
    voxels: float


Columns = Callable[[float], Sequence[float]]
"""Bound on a covariate -> bounds on its design columns."""


def magnitudes(
    scale: Scale, *, covariates: Sequence[Columns], biology: Sequence[Columns]
) -> Magnitudes:
    """Bounds as numbers.

    Parameters
    ----------
    scale : Scale
    covariates, biology : sequence of Columns
    """
    sizes = [4.0**power for power in scale.covariates]
    of_columns = [
        columns(size) for size, columns in zip(sizes, [*covariates, *biology], strict=True)
    ]
    judged = [size for sizes in of_columns for size in sizes]
    own = [size for sizes in of_columns[: len(covariates)] for size in sizes]
    return Magnitudes(
        rows=4.0**scale.rows,
        features=4.0 ** np.asarray(scale.features, dtype=np.float64),
        columns=np.asarray(own, dtype=np.float64),
        judged_columns=np.asarray(judged, dtype=np.float64),
        voxels=4.0**scale.voxels,
    )


Bounds = Mapping[str, Any]
"""Array -> bound on the absolute value of its entries, broadcast to its shape."""

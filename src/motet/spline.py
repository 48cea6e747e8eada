"""A covariate as a curve: a natural cubic spline whose knots the study declares.

Knots and bounds are public and stand in the study file. They are never quantiles of people: these
would be sums that nobody declared, and other ones wherever a site joins or is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

MOST = 20
"""Knots; packages' defaults are three to ten."""
NEAREST = 1e-3
"""Of the distance of the bounds: between two knots. What is nearer costs digits and is a slip."""
LARGEST = 1e12


@dataclass(frozen=True, kw_only=True)
class Spline:
    """The space of natural cubic splines with given knots.

    A cubic between neighbouring knots, with two continuous derivatives, and a straight line
    outside the bounds: Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning,
    section 5.2.1, equations 5.4 and 5.5 (doi:10.1007/978-0-387-84858-7). R's ``ns(x, knots,
    Boundary.knots)`` and, with bounds among its knots, mgcv's and patsy's ``cr`` span the same.

    Parameters
    ----------
    knots : (K,) sequence of float
        Increasing, within the bounds.
    bounds : (2,) sequence of float
        Where the straight lines begin.

    Raises
    ------
    ValueError
        Says which knot or bound is at fault.
    """

    knots: tuple[float, ...]
    bounds: tuple[float, float]

    def __post_init__(self) -> None:
        knots, bounds = _numbers("knots", self.knots), _numbers("bounds", self.bounds)
        if not 1 <= len(knots) <= MOST:
            raise ValueError(f"a spline has 1 to {MOST} knots, not {len(knots)}")
        if len(bounds) != 2 or not bounds[0] < bounds[1]:
            raise ValueError("the bounds of a spline are two numbers, the smaller one first")
        low, high = bounds
        for one, other in pairwise(knots):
            if not one < other:
                raise ValueError(f"the knots do not increase: {other:g} comes after {one:g}")
        for knot in knots:
            if not low < knot < high:
                raise ValueError(
                    f"the knot {knot:g} is not between the bounds {low:g} and {high:g}"
                )
        for one, other in pairwise((low, *knots, high)):
            if other - one < NEAREST * (high - low):
                raise ValueError(f"{_short(one)} and {_short(other)} are too near to be two knots")
        object.__setattr__(self, "knots", knots)
        object.__setattr__(self, "bounds", bounds)

    @classmethod
    def from_json(cls, document: Any) -> Spline:
        """Read ``{knots: […], bounds: […]}``."""
        if not isinstance(document, Mapping) or set(document) != {"knots", "bounds"}:
            raise ValueError("a spline is {knots: [30, 50], bounds: [18, 90]}, and nothing else")
        return cls(knots=document["knots"], bounds=document["bounds"])

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"knots": list(self.knots), "bounds": list(self.bounds)}

    def __str__(self) -> str:
        low, high = self.bounds
        at = ", ".join(map(_short, self.knots))
        return (
            f"natural cubic spline, knots {at}, linear below {_short(low)} and above {_short(high)}"
        )

    def columns(self, name: str) -> tuple[str, ...]:
        """Names of its design columns: ``('age', 'age@30', 'age@50')``."""
        return (name, *(f"{name}@{_short(knot)}" for knot in self.knots))

    @property
    def every_knot(self) -> Float:
        """Bounds and knots, (K + 2,), increasing."""
        return np.array([self.bounds[0], *self.knots, self.bounds[1]])

    @cached_property
    def _cardinal(self) -> Any:
        """The functions that are 1 at one knot and 0 at the others and at the bounds."""
        from scipy.interpolate import CubicSpline, PPoly

        at = self.every_knot
        inner = CubicSpline(at, np.eye(len(at))[:, 1:-1], bc_type="natural")
        # A piece more on each side, c0 t^3 + … + c3: the straight lines.
        reach = at[-1] - at[0]
        first, last = inner(at[0], 1), inner(at[-1], 1)
        none = np.zeros_like(first)
        before = np.array([none, none, first, -reach * first])[:, None]
        after = np.array([none, none, last, none])[:, None]
        pieces = np.concatenate([before, inner.c, after], axis=1)
        return PPoly(pieces, np.array([at[0] - reach, *at, at[-1] + reach]))

    def design(self, x: ArrayLike) -> Float:
        """Design columns, without intercept.

        ``x`` itself, then one function a knot: 1 there, 0 at the other knots and at the bounds
        (of the cardinal basis of Wood 2017, Generalized Additive Models, section 5.3.1, without
        the two of the bounds, which intercept and ``x`` make up for). So a coefficient is how far
        the curve is at that knot from the line through its values at the bounds.

        Parameters
        ----------
        x : (n,) float64

        Returns
        -------
        (n, 1 + K) float64
        """
        x = np.asarray(x, dtype=np.float64)
        return np.column_stack([x, self._cardinal(x)])

    def largest(self, size: float) -> tuple[float, ...]:
        """Bounds (1 + K) on absolute values of the columns where those of ``x`` have `size`.

        A cubic lies within the hull of its Bezier points, which are values at knots (0 or 1) plus
        or minus a third of the step times the slope.
        """
        at = self.every_knot
        slopes = np.abs(self._cardinal(at, 1)).max(axis=0)
        outside = max(size - at[-1], size + at[0], 0.0)
        return (size, *(1.0 + slopes * (np.diff(at).max() / 3.0 + outside)).tolist())


def _numbers(what: str, values: Any) -> tuple[float, ...]:
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"the {what} of a spline are a list of numbers, not {values!r}")
    found = []
    for value in values:
        if isinstance(value, bool | str) or not isinstance(value, int | float | np.number):
            raise ValueError(f"'{value}' among the {what} of a spline is not a number")
        if not -LARGEST < value < LARGEST:
            raise ValueError(f"{value} among the {what} of a spline is too large, or none")
        found.append(float(value))
    return tuple(found)


def _short(number: float) -> str:
    """``30``, ``70.5``: as short as it reads back."""
    return np.format_float_positional(number, trim="-")

"""How many people stand behind a spline covariate, wherever a sum could single them out.

Sums with the columns of a spline give sums with every combination of them, whichever basis the
columns are. So counted is behind the combinations that are 0 for as many people as can be: no
function of the space is 0 outside of fewer intervals (de Boor 1978, A Practical Guide to Splines,
chapter IX; outside the bounds the space is linear, which leaves two intervals and a line).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def least_supported(knots: Float, x: Float) -> Iterator[tuple[str, Float]]:
    """Functions of the natural cubic splines with least support, at `x`.

    Parameters
    ----------
    knots : (N,) float64
        Bounds among them, increasing, three at least.
    x : (n,) float64

    Yields
    ------
    where : str
        Where the function is not 0.
    values : (n,) float64
        Positive there, on a scale of its own.
    """
    from scipy.interpolate import BSpline

    yield f"below {knots[2]:g}", _ramp(-x, *-knots[2::-1])
    for j in range(len(knots) - 4):
        some = knots[j : j + 5]
        inside = BSpline.basis_element(some, extrapolate=False)(x)
        yield f"from {some[0]:g} to {some[-1]:g}", np.nan_to_num(inside, nan=0.0)
    yield f"above {knots[-3]:g}", _ramp(x, *knots[-3:])


def _ramp(x: Float, a: float, b: float, c: float) -> Float:
    """Second divided difference of ``(x - t)^3_+`` in t: 0 below a, a straight line above c."""
    early = (x - a) ** 3 / ((b - a) * (c - a))
    late = 3 * x - (a + b + c) + np.maximum(c - x, 0.0) ** 3 / ((c - a) * (c - b))
    return np.where(x <= a, 0.0, np.where(x < b, early, late))


def effective_people(weights: Float, person: NDArray[np.intp]) -> float:
    """Kish's effective number of people, ``(sum w)^2 / sum w^2``; 0 where nobody has any weight.

    Kish 1965, Survey Sampling, section 11.7: as many people of equal weight would do the same.

    Parameters
    ----------
    weights : (n,) float64
        Of rows, not negative.
    person : (n,) int
        Number of the person of each row.
    """
    # Largest first: squares of small weights must not vanish.
    w = np.bincount(person, weights=weights / max(float(weights.max(initial=0.0)), 1e-300))
    square = float((w**2).sum())
    return float(w.sum()) ** 2 / square if square > 0 else 0.0

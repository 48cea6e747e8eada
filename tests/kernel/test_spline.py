"""The space of a spline, its columns and the bounds on them, from their definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.spline import Spline

AGE = Spline(knots=(30, 50, 70), bounds=(18, 90))


@st.composite
def splines(draw: st.DrawFn) -> Spline:
    """Any spline of one to six knots that are no closer than a thousandth of their distance."""
    steps = draw(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=7))
    start, size = draw(st.floats(-100, 100)), draw(st.floats(0.1, 100))
    at = start + size * np.cumsum([0.0, *steps])
    return Spline(knots=at[1:-1].tolist(), bounds=(at[0], at[-1]))


def truncated(spline: Spline, x: np.ndarray) -> np.ndarray:
    """Hastie, Tibshirani, Friedman 2009, equations 5.4, 5.5, in units of the bounds' distance."""
    at = (spline.every_knot - spline.bounds[0]) / (spline.bounds[1] - spline.bounds[0])
    x = (x - spline.bounds[0]) / (spline.bounds[1] - spline.bounds[0])

    def d(k: int) -> np.ndarray:
        cubes = np.maximum(x - at[k], 0) ** 3 - np.maximum(x - at[-1], 0) ** 3
        return cubes / (at[-1] - at[k])

    tails = [d(k) - d(len(at) - 2) for k in range(len(at) - 2)]
    return np.column_stack([np.ones_like(x), x, *tails])


@settings(max_examples=60, deadline=None)
@given(spline=splines())
def test_columns(spline: Spline) -> None:
    """Catches a function that is not 0 at another knot, a curve beyond the bounds, and a kink."""
    at = spline.every_knot
    found = spline.design(at)
    np.testing.assert_array_equal(found[:, 0], at)
    np.testing.assert_array_equal(found[:, 1:], np.eye(len(at))[:, 1:-1])
    reach = at[-1] - at[0]
    for end, step in ((at[0], -reach / 7), (at[-1], reach / 7)):
        outside = spline.design(end + step * np.arange(9))[:, 1:]
        bent = np.abs(np.diff(outside, 2, axis=0)).max()
        assert bent <= 1e-9 * np.abs(outside).max(initial=1.0)
        slope = (outside[1] - outside[0]) / step
        h = 1e-6 * np.diff(at).min()
        within = (
            spline.design([end - math.copysign(h, step)])[0, 1:] - outside[0]
        ) / -math.copysign(h, step)
        np.testing.assert_allclose(within, slope, rtol=1e-4, atol=1e-4 * np.abs(slope).max())


@settings(max_examples=60, deadline=None)
@given(spline=splines(), coefficients=st.lists(st.floats(-5, 5), min_size=9, max_size=9))
def test_it_is_the_space_of_natural_cubic_splines(
    spline: Spline, coefficients: list[float]
) -> None:
    """Catches a basis of another space, and one that a straight line is not in: whoever fits with
    the columns, and whoever fits with those of the book, comes to the same curve."""
    width = spline.bounds[1] - spline.bounds[0]
    x = np.linspace(spline.bounds[0] - width / 2, spline.bounds[1] + width / 2, 400)
    book = truncated(spline, x)
    ours = np.column_stack([np.ones_like(x), spline.design(x)])
    ours[:, 1] = (ours[:, 1] - spline.bounds[0]) / width
    curve = book @ np.array(coefficients[: book.shape[1]])
    again = ours @ np.linalg.lstsq(ours, curve, rcond=None)[0]
    np.testing.assert_allclose(again, curve, atol=1e-7 * max(np.abs(curve).max(), 1.0))


@settings(max_examples=60, deadline=None)
@given(spline=splines(), size=st.floats(0.0, 300))
def test_bounds_hold(spline: Spline, size: float) -> None:
    """Catches a bound that a person's column exceeds: a masked sum of it would wrap around."""
    x = np.linspace(-size, size, 2001)
    reached = np.abs(spline.design(x)).max(axis=0)
    assert (reached <= np.array(spline.largest(size)) * (1 + 1e-12)).all()


def test_names_and_words() -> None:
    """Catches names that two knots would share, and knots that a Methods section leaves out."""
    assert AGE.columns("age") == ("age", "age@30", "age@50", "age@70")
    close = Spline(knots=(70.0000001, 70.0000002), bounds=(70, 70.0000003))
    assert len(set(close.columns("age"))) == 3
    assert str(AGE) == "natural cubic spline, knots 30, 50, 70, linear below 18 and above 90"
    assert Spline.from_json(AGE.to_json()) == AGE
    assert Spline(knots=np.array([30, 50, 70]), bounds=[18.0, 90.0]) == AGE


WRONG: dict[str, tuple[Any, str]] = {
    "decreasing": ({"knots": [50, 30], "bounds": [18, 90]}, "30 comes after 50"),
    "twice": ({"knots": [30, 30], "bounds": [18, 90]}, "do not increase"),
    "outside": ({"knots": [10, 30], "bounds": [18, 90]}, "10 is not between the bounds 18 and 90"),
    "at a bound": ({"knots": [30, 90], "bounds": [18, 90]}, "90 is not between"),
    "none": ({"knots": [], "bounds": [18, 90]}, "1 to 20 knots, not 0"),
    "many": ({"knots": list(range(20, 50)), "bounds": [18, 90]}, "not 30"),
    "a number": ({"knots": 30, "bounds": [18, 90]}, "list of numbers"),
    "words": ({"knots": ["thirty"], "bounds": [18, 90]}, "'thirty'"),
    "truth": ({"knots": [True], "bounds": [-1, 2]}, "'True'"),
    "not finite": ({"knots": [30], "bounds": [18, math.inf]}, "inf among the bounds"),
    "no bounds": ({"knots": [30]}, "nothing else"),
    "one bound": ({"knots": [30], "bounds": [18]}, "two numbers"),
    "bounds reversed": ({"knots": [30], "bounds": [90, 18]}, "the smaller one first"),
    "more": ({"knots": [30], "bounds": [18, 90], "degree": 2}, "nothing else"),
    "text": ("30, 50", "nothing else"),
    "huge": ({"knots": [10**400], "bounds": [18, 90]}, "too large"),
    "as good as twice": ({"knots": [30, 30.001], "bounds": [18, 90]}, "too near"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_spline(what: str) -> None:
    """Catches knots that are sorted or dropped in silence, and numbers that are none."""
    document, says = WRONG[what]
    with pytest.raises(ValueError) as error:
        Spline.from_json(document)
    assert says in str(error.value)

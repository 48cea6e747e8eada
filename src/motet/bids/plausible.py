"""Numbers of a covariate that are too far from everybody else's to be believed.

One age of -9999 has the weight of thousands of people in a sum of squares: it bends the slope of
every feature at every site. What is far is told by the quartiles of the site's own people, which
such a number hardly moves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from motet.errors import listed

if TYPE_CHECKING:
    from motet.bids.table import Table

FAR = 8.0
"""Spreads beyond the quartiles from which on a number is spoken of."""
IMPOSSIBLE = 1000.0
"""Spreads beyond which none is a measurement: a date, a code."""
CODE = re.compile(r"9{2,}")
"""Numbers that stand for a missing value in many tables: 99, 999, -9999."""


def spreads_off(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far numbers lie beyond the quartiles of all of them.

    Parameters
    ----------
    values : (n,) ndarray

    Returns
    -------
    (n,) ndarray
        In spreads: the distance of the quartiles, or half of the median where that is more, so that
        a site of people of one age may have an older one. Zero between the quartiles, and for all
        where there is no spread.
    """
    low, middle, high = np.quantile(_not_codes(values), (0.25, 0.5, 0.75))
    spread = max(high - low, abs(middle) / 2)
    if not spread:
        return np.zeros(len(values))
    off: NDArray[np.float64] = np.maximum(np.maximum(low - values, values - high), 0.0) / spread
    return off


def unbelievable(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows of numbers that cannot be meant: far, and a code or beyond all measure."""
    off = spreads_off(values)
    found = [
        i for i in np.flatnonzero(off > FAR) if off[i] > IMPOSSIBLE or is_code(float(values[i]))
    ]
    return np.array(found, dtype=np.intp)


def _not_codes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers that quartiles are of: a third of a table may be -9999."""
    kept = values[[not is_code(value) for value in values.tolist()]]
    return kept if len(kept) else values


def is_code(value: float) -> bool:
    """Whether a number is written in nines alone, as missing values often are."""
    return CODE.fullmatch(f"{abs(value):g}") is not None


def usual(values: NDArray[np.float64]) -> str:
    """Where half of the people lie, in words."""
    low, high = np.quantile(_not_codes(values), (0.25, 0.75))
    return f"half of the people here lie from {low:.4g} to {high:.4g}"


def far_rows(table: Table) -> NDArray[np.bool_]:
    """(n,) bool: people with a number of a covariate that is far from everybody else's here."""
    far = np.zeros(len(table), dtype=bool)
    for name in _numbers(table):
        far |= spreads_off(_values(table, name)) > FAR
    return far


def far_values(table: Table) -> Sequence[str]:
    """Sentences that name people with such a number, one a covariate."""
    found = []
    for name in _numbers(table):
        values = _values(table, name)
        far = np.flatnonzero(spreads_off(values) > FAR)
        if len(far):
            who = dict.fromkeys(f"{table.people[i]} ({values[i]:.12g})" for i in far)
            found.append(
                f"'{name}' of {listed(who)} is far from everybody's: {usual(values)}. Estimates "
                "lean on such numbers: correct them, or leave these people out."
            )
    return found


def _numbers(table: Table) -> list[str]:
    return [c.name for c in table.described.covariates if c.kind == "continuous"]


def _values(table: Table, name: str) -> NDArray[np.float64]:
    return table.covariates[name].to_numpy(dtype=np.float64)

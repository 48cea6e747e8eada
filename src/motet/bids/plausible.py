"""Numbers of a covariate or feature that are too far from everybody else's to be believed.

One age of -9999 has the weight of thousands of people in a sum of squares: it bends the slope of
every feature at every site. What is far is told by the quartiles of the site's own people, which
such a number hardly moves, and by a gap: a covariate may be as skewed as it likes, but a slip of
the pen stands alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from motet.errors import listed

if TYPE_CHECKING:
    from motet.bids.table import Table

FAR, GAP = 8.0, 3.0
"""Spreads beyond the quartiles from which on a number is spoken of, and how many times as far out
it has to lie as whoever comes next."""
FAR_FEATURE, GAP_FEATURE = 20.0, 10.0
"""The same of a feature: of hundreds, some are skewed, and somebody has the largest lesion."""
CHUNK = 512
MANY, SHARE = 3, 0.05
"""So many people, or such a share of them, make no slip of the pen together."""
CODES = tuple(-float(digit * times) for digit in "789" for times in range(2, 9))
"""What stands for a missing value in many tables: -99, -999, -8888."""


def spreads_off(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far numbers lie beyond the quartiles of all of them.

    Parameters
    ----------
    values : (n,) ndarray

    Returns
    -------
    (n,) ndarray
        In spreads: the distance of the quartiles, or half of the median where that is more, so that
        a site of people of one age may have an older one. Zero between the quartiles.
    """
    known = values[~is_code(values)]
    if not len(known):
        return np.zeros(len(values))
    low, middle, high = np.quantile(known, (0.25, 0.5, 0.75))
    spread = max(high - low, abs(middle) / 2)
    if not spread:
        # Most people have one number: what the others have is as far out as these are at most.
        others = np.abs(known[known != middle] - middle)
        spread = float(np.median(others)) if len(others) else 0.0
    if not spread:
        return np.zeros(len(values))
    off: NDArray[np.float64] = np.maximum(np.maximum(low - values, values - high), 0.0) / spread
    return off


def outliers(
    values: NDArray[np.float64], *, far: float = FAR, gap: float = GAP
) -> NDArray[np.bool_]:
    """Which numbers are far, stand alone, and are few."""
    off = spreads_off(values)
    ordered = np.sort(off)
    alone = (ordered[1:] > far) & (ordered[1:] >= gap * np.maximum(ordered[:-1], 1.0))
    if not alone.any():
        return np.zeros(len(off), dtype=bool)
    found: NDArray[np.bool_] = off >= ordered[1:][alone][0]
    few = found.sum() <= max(MANY, SHARE * len(values))
    return found if few else np.zeros(len(off), dtype=bool)


def missing_codes(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows of codes of a missing value, where nobody has another number below zero."""
    codes = is_code(values)
    below = bool((values[~codes] < 0).any())
    return np.flatnonzero(codes & (not below))


def is_code(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which numbers are written as missing values often are."""
    return np.isin(values, CODES)


def usual(values: NDArray[np.float64]) -> str:
    """Where half of the people lie, in words."""
    known = values[~is_code(values)]
    if not len(known):
        return "nobody here has another"
    low, high = np.quantile(known, (0.25, 0.75))
    return f"half of the people here lie from {low:.4g} to {high:.4g}"


def far_rows(table: Table, covariates: Collection[str]) -> NDArray[np.bool_]:
    """(n,) bool: people with a number of one of these that is far from everybody else's here."""
    far = np.zeros(len(table), dtype=bool)
    for name, values in _numbers(table):
        if name in covariates:
            far |= outliers(values)
    return far


def far_values(table: Table) -> Sequence[str]:
    """Sentences that name people with such a number, one a covariate."""
    found = []
    for name, values in _numbers(table):
        far = np.flatnonzero(outliers(values))
        if len(far):
            who = dict.fromkeys(f"{table.people[i]} ({values[i]:.12g})" for i in far)
            found.append(
                f"'{name}' of {listed(who)} is far from everybody's: {usual(values)}. Correct it "
                "if it is wrong: whatever is estimated leans on such numbers."
            )
    return found


def coded_cell(values: NDArray[np.float64]) -> tuple[int, int] | None:
    """Row and column of a first code of a missing value, (n, p); None where there is none.

    As of covariates: in columns where nobody has another number below zero.
    """
    with np.errstate(invalid="ignore"):
        suspect = np.flatnonzero((values <= max(CODES)).any(axis=0))
    for j in suspect.tolist():
        rows = missing_codes(values[:, j])
        if len(rows):
            return int(rows[0]), j
    return None


def far_features(table: Table) -> Sequence[str]:
    """Sentences that name people with a feature's value that is far from everybody's here.

    Of tables that are in memory as a whole.
    """
    if table.form == "npy" or table.values.ndim != 2:
        return ()
    found: dict[str, list[str]] = {}
    for start in range(0, len(table.features), CHUNK):
        columns = np.arange(start, min(start + CHUNK, len(table.features)))
        block = table.block(columns)
        for k in _suspect(block).tolist():
            j, values = int(columns[k]), block[:, k]
            seen = np.flatnonzero(np.isfinite(values))
            for i in seen[outliers(values[seen], far=FAR_FEATURE, gap=GAP_FEATURE)].tolist():
                said = f"{table.features[j]} ({values[i]:.6g})"
                found.setdefault(table.who(i), []).append(said)
    return [
        f"{who} is far from everybody's here in {listed(said)}. Correct it if it is wrong: "
        "whatever is estimated leans on such numbers, at every site."
        for who, said in found.items()
    ]


def _suspect(block: NDArray[np.float64]) -> NDArray[np.intp]:
    """Columns of (n, c) whose largest or smallest value may be far."""
    kept = np.flatnonzero(np.isfinite(block).any(axis=0))
    low, middle, high = np.nanquantile(block[:, kept], (0.25, 0.5, 0.75), axis=0)
    largest = np.nanmax(block[:, kept], axis=0) - high
    off = np.maximum(largest, low - np.nanmin(block[:, kept], axis=0))
    found: NDArray[np.intp] = kept[off > FAR_FEATURE * np.maximum(high - low, np.abs(middle) / 2)]
    return found


def _numbers(table: Table) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Name and values, (n,), of every covariate that is a number."""
    for covariate in table.described.covariates:
        if covariate.kind == "continuous":
            yield covariate.name, table.covariates[covariate.name].to_numpy(dtype=np.float64)

"""Harmonized values below zero, of features that have none as measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.errors import listed

Blocks = Iterator[tuple[slice | NDArray[np.intp], NDArray[Any]]]
FIRST, CHUNK = 64, 1024
"""Rows that are looked at first, and columns that are read at once."""


class BelowZero:
    """Counts them, block after block.

    A volume or a thickness is above zero, and what brings it to another scanner is a shift and a
    factor that know of no bound.

    Parameters
    ----------
    table : Table
        As measured.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._count = np.zeros(len(table.features), dtype=np.int64)

    def watched(self, blocks: Blocks, say: Callable[[str], None]) -> Blocks:
        """Hand blocks through, and say at the end what was seen."""
        for rows, values in blocks:
            self.see(values)
            yield rows, values
        if sentence := self.said():
            say(sentence)

    def see(self, values: NDArray[Any]) -> None:
        """Harmonized values, (r, p); images are not looked at."""
        if values.ndim == 2:
            self._count += (values < 0).sum(axis=0)

    def said(self) -> str:
        """A sentence; empty where there is none."""
        table, count = self._table, self._count.copy()
        if count.any():
            # A few rows tell of most features that may be negative; the others' columns are read.
            count[(table.rows_block(slice(0, FIRST)) < 0).any(axis=0)] = 0
        left = np.flatnonzero(count)
        for start in range(0, len(left), CHUNK):
            columns = left[start : start + CHUNK]
            count[columns[(table.block(columns) < 0).any(axis=0)]] = 0
        features = [table.features[j] for j in np.flatnonzero(count)]
        if not features:
            return ""
        return (
            f"harmonized values of {listed(features)} lie below zero ({count.sum()} in all), where "
            "none of these people's did as measured: look at them before taking logarithms or "
            "ratios."
        )

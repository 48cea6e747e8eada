"""One site's measures in memory or memory-mapped: people in rows, features in columns."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet.bids.covariates import describe
from motet.schema import SiteSchema
from motet.store import load_array


def as_slice(index: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """The same rows as a slice where they follow each other, so that no value is copied."""
    if len(index) and index[-1] - index[0] == len(index) - 1 and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


class _Mapped:
    """A memory-mapped file on its way to another process, where it is mapped again."""

    def __init__(self, values: np.memmap[Any, Any]) -> None:
        assert values.filename is not None, "memory without a file has no way to another process"
        self._file = Path(values.filename)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(load_array, mapped=True), (self._file,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Measures, covariates and batches of the people of one site.

    Attributes
    ----------
    site : str
    people : (n,) array of str
        ``participant_id`` of every row; a person with several sessions has several rows.
    sessions : (n,) array of str, or None
    values : (n, p) float64
        Features in native units; NaN where missing; never infinite. May be memory-mapped.
        Row i is ``values[rows[i]]`` where `rows` is given.
    features, units : tuple of str
    covariates : DataFrame
        n rows; float64 columns for continuous covariates, str columns for categorical ones.
    batch : (n,) array of str
    rows : (n,) array of int, or None
        Which rows of `values` these people are; None: all, in order.
    source : Path or None
        The folder it was read from.
    form : {"tsv", "npy", "memory"}
        The form of the input, which the output takes.
    described : SiteSchema
        The site's public description.
    """

    site: str
    people: NDArray[Any]
    values: NDArray[np.float64]
    features: tuple[str, ...]
    units: tuple[str, ...]
    covariates: pd.DataFrame
    batch: NDArray[Any]
    described: SiteSchema
    sessions: NDArray[Any] | None = None
    rows: NDArray[np.intp] | None = None
    source: Path | None = None
    form: Literal["tsv", "npy", "memory"] = "memory"
    participants: pd.DataFrame = field(default_factory=pd.DataFrame)
    """participants.tsv as it was read (text), to be written beside the harmonized values."""
    travelers: Mapping[str, str] = field(default_factory=dict)
    """Public key of a traveler -> ``participant_id`` here, from travelers.tsv."""
    consented: frozenset[str] = frozenset()
    """Keys of those travelers who agreed that something of their own leaves the site."""

    def __len__(self) -> int:
        return len(self.people)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        # A view's base is the array it is a view of; that of a whole file is its map.
        if isinstance(self.values, np.memmap) and isinstance(self.values.base, mmap.mmap):
            state["values"] = _Mapped(self.values)
        return state

    @property
    def batches(self) -> tuple[str, ...]:
        """Names of the batches these people belong to, sorted."""
        return tuple(sorted(set(self.batch.tolist())))

    def holds(self, keyed: Collection[str]) -> tuple[str, ...]:
        """Of some travelers, those who were scanned here and consented, sorted."""
        return tuple(sorted(set(keyed) & set(self.travelers) & self.consented))

    def of_batch(self, name: str) -> Table:
        """The people of one batch."""
        return self.where(self.batch == name)

    def where(self, mask: NDArray[np.bool_]) -> Table:
        """The people for whom `mask`, (n,) bool, holds. No value is copied."""
        if mask.all():
            return self
        index = np.flatnonzero(mask)
        return replace(
            self,
            people=self.people[index],
            sessions=None if self.sessions is None else self.sessions[index],
            covariates=self.covariates.iloc[index].reset_index(drop=True),
            batch=self.batch[index],
            rows=index if self.rows is None else self.rows[index],
        )

    def as_site(self, site: str) -> Table:
        """These people as a site of their own, with its public description."""
        kinds = {c.name: c.spline or c.kind for c in self.described.covariates}
        described = replace(
            self.described,
            site=site,
            covariates=describe(self.covariates, kinds, self.batch),
            batches=self.batches,
        )
        return replace(self, site=site, described=described)

    def block(self, columns: slice | Sequence[int] | NDArray[np.intp]) -> NDArray[np.float64]:
        """Values of some feature columns, (n, c) float64; a view where the rows are contiguous."""
        part = self.values[:, columns]
        if self.rows is None:
            return part
        return part[as_slice(self.rows)]

    def measured(self, rows: slice | NDArray[np.intp], block: NDArray[Any]) -> NDArray[np.float64]:
        """What is judged of harmonized data of some rows, (r, p): here the values themselves."""
        return block

    def joined(self, parts: Sequence[Table]) -> dict[str, Any]:
        """The fields that hold the data of several tables, one after another."""
        return {"values": np.vstack([part.block(slice(None)) for part in parts]), "rows": None}

    def rows_block(self, rows: slice) -> NDArray[np.float64]:
        """Values of some rows, (r, p) float64; a view where they are contiguous."""
        if self.rows is None:
            return self.values[rows]
        return self.values[as_slice(self.rows[rows])]

    def who(self, row: int) -> str:
        """How to name a row in a sentence: the person, and the session where there is one."""
        if self.sessions is None:
            return str(self.people[row])
        return f"{self.people[row]} ({self.sessions[row]})"

"""A :class:`~motet.bids.table.Table` of arrays and DataFrames in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from motet.bids.assemble import assembled
from motet.bids.checks import Place, check_name, check_people
from motet.bids.covariates import CovariateRequest, is_absent, level, resolve
from motet.bids.features import check_features
from motet.bids.table import Table
from motet.errors import listed, nearest


def from_arrays(
    values: ArrayLike | pd.DataFrame,
    *,
    site: str,
    batch: str | Sequence[object] | NDArray[Any] | pd.Series[Any] | None = None,
    covariates: pd.DataFrame | None = None,
    requests: Mapping[str, CovariateRequest] | None = None,
    features: Sequence[str] | None = None,
    units: Sequence[str] | Mapping[str, str] | None = None,
    people: Sequence[object] | None = None,
    sessions: Sequence[object] | None = None,
    rows: NDArray[np.intp] | Sequence[int] | None = None,
) -> Table:
    """Make a table of arrays in memory; the checks are those of :func:`read_site`.

    Infinite values are not looked for here: an array may be larger than memory, and whoever reads
    it block by block finds them.

    Parameters
    ----------
    values : (N, p) array or DataFrame
        NaN where missing. A float64 ndarray is not copied.
    site : str
    batch : str or (n,) sequence, optional
        One batch for all, or one a row; default: the site's name.
    covariates : DataFrame, optional
        n rows, in the order of the rows of this table; its index is not looked at.
    requests : mapping of str to CovariateRequest, optional
        Default: all columns of `covariates`, each ``auto``.
    features : (p,) sequence of str, optional
        Default: the columns of a DataFrame, else ``feature1`` …
    units : (p,) sequence, or mapping of feature to unit, optional
    people : (n,) sequence, optional
        Default: ``sub-1`` … by row of `values`, so that a split into sites changes no name.
    sessions : (n,) sequence, optional
    rows : (n,) sequence of int, optional
        Which rows of `values` are this site's, so that several sites share one array;
        default: all. `batch`, `covariates`, `people` and `sessions` have one entry for each.

    Returns
    -------
    Table
        With ``form='memory'``.
    """
    place = Place(site=site)
    check_name(site, "site", place=place)
    if features is None and isinstance(values, pd.DataFrame):
        features = [str(name) for name in values.columns]
    array = _float64(values, place)
    names = (
        tuple(map(str, features))
        if features is not None
        else tuple(f"feature{j + 1}" for j in range(array.shape[1]))
    )
    index = None if rows is None else _row_index(rows, len(array), place)
    chosen = range(len(array)) if index is None else index.tolist()
    who = [f"sub-{i + 1}" for i in chosen] if people is None else [str(name) for name in people]
    n = len(chosen)
    when = None if sessions is None else [str(name) for name in sessions]
    table = pd.DataFrame(index=pd.RangeIndex(n)) if covariates is None else covariates
    if batch is None or isinstance(batch, str):
        batch = [batch if batch is not None else site] * n
    lengths = {"people": who, "batch": batch, "covariates": table, "sessions": when}
    for name, entries in lengths.items():
        if entries is not None and len(entries) != n:
            raise place.error(f"'{name}' has {len(entries)} entries for {n} rows.")
    if len(names) != array.shape[1]:
        raise place.error(f"There are {len(names)} feature names for {array.shape[1]} columns.")
    check_features(names, place=place)
    check_people(who, when, place=place)
    columns = {str(name): table[name] for name in table.columns}
    wanted = requests if requests is not None else {name: CovariateRequest() for name in columns}
    frame, kinds = resolve(columns, wanted, people=who, place=place)
    return assembled(
        Table,
        place=place,
        people=who,
        sessions=when,
        values=array,
        features=names,
        units=_units(units, names, place),
        covariates=frame,
        kinds=kinds,
        batch=_batches(batch, who, place),
        rows=index,
    )


def _float64(values: ArrayLike | pd.DataFrame, place: Place) -> NDArray[np.float64]:
    if isinstance(values, pd.DataFrame):
        # C order as in the files: the order in memory decides the last bit of a sum.
        values = _converted(values, place)
        return np.ascontiguousarray(values)
    array = _converted(values, place)
    if array.ndim != 2:
        raise place.error(f"The values have {array.ndim} dimension(s), not people x features.")
    return array


def _converted(values: ArrayLike | pd.DataFrame, place: Place) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise place.error(
            f"The values are not all numbers: {error}.", do="Pass only columns of numbers."
        ) from error


def _row_index(rows: NDArray[np.intp] | Sequence[int], n: int, place: Place) -> NDArray[np.intp]:
    index = np.asarray(rows)
    if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
        raise place.error("'rows' has to be a list of row numbers.", do="numpy.flatnonzero(mask)")
    if index.size and (index.min() < 0 or index.max() >= n):
        raise place.error(f"'rows' goes from {index.min()} to {index.max()}; there are {n} rows.")
    return index.astype(np.intp, copy=False)


def _batches(
    batch: Sequence[object] | NDArray[Any] | pd.Series[Any], people: Sequence[str], place: Place
) -> list[str]:
    cells = list(batch)
    missing = [who for who, cell in zip(people, cells, strict=True) if is_absent(cell)]
    if missing:
        raise place.error(
            f"The batch of {listed(missing)} is not known.",
            do="Give every row a batch.",
            person=missing[0],
        )
    names = {cell: level(cell) for cell in set(cells)}
    return [names[cell] for cell in cells]


def _units(
    units: Sequence[str] | Mapping[str, str] | None, features: tuple[str, ...], place: Place
) -> tuple[str, ...]:
    if units is None:
        return ("",) * len(features)
    if isinstance(units, Mapping):
        unknown = sorted(set(units) - set(features))
        if unknown:
            raise place.error(
                f"'units' names {listed(unknown)}, not among the features.",
                do=nearest(unknown[0], features),
            )
        return tuple(units.get(name, "") for name in features)
    if len(units) != len(features):
        raise place.error(f"There are {len(units)} units for {len(features)} features.")
    return tuple(units)

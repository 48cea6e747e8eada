"""``motet.harmonize``: a DataFrame or array in, the same out."""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet.bids.covariates import is_absent, level
from motet.bids.memory import from_arrays
from motet.bids.plausible import far_values
from motet.bids.table import Table
from motet.client.opening import requests
from motet.config import Study, parse_study
from motet.errors import DataError, MotetWarning, nearest
from motet.harmonizer import CovariateType
from motet.params import parse_params
from motet.simulation import Result, array_sink, run_sites

Labels = Sequence[Any] | NDArray[Any] | pd.Series


@overload
def harmonize(
    features: pd.DataFrame,
    *,
    batch: Labels,
    covariates: pd.DataFrame | None = ...,
    covariate_types: Mapping[str, CovariateType] | None = ...,
    method: str = ...,
    out: None = ...,
    seed: int = ...,
    **params: Any,
) -> pd.DataFrame: ...


@overload
def harmonize(
    features: NDArray[Any],
    *,
    batch: Labels,
    covariates: pd.DataFrame | None = ...,
    covariate_types: Mapping[str, CovariateType] | None = ...,
    method: str = ...,
    out: NDArray[np.float64] | None = ...,
    seed: int = ...,
    **params: Any,
) -> NDArray[np.float64]: ...


def harmonize(
    features: pd.DataFrame | NDArray[Any],
    *,
    batch: Labels,
    covariates: pd.DataFrame | None = None,
    covariate_types: Mapping[str, CovariateType] | None = None,
    method: str = "combat",
    out: NDArray[np.float64] | None = None,
    seed: int = 0,
    **params: Any,
) -> pd.DataFrame | NDArray[np.float64]:
    """Harmonize a table of features across batches.

    Every batch is a site of a simulated federation: the same code, and the same numbers, as a
    study whose sites never see each other's rows.

    Parameters
    ----------
    features : DataFrame or (n, p) array
        People in rows, features in columns (neuroCombat has it the other way round); NaN where
        missing.
    batch : (n,) sequence
        The scanner or site of every person.
    covariates : DataFrame, optional
        n rows in the same order: what to keep. Columns of numbers are continuous, others
        categorical.
    covariate_types : mapping, optional
        Covariate -> ``"continuous"``, ``"categorical"`` or a tuple of levels, where that is wrong;
        or ``motet.Spline(knots=[30, 50, 70], bounds=[18, 90])``, to keep a curve.
    method : str
        See ``motet methods``.
    out : (n, p) float64 array, optional
        Where to write, e.g. a memory-mapped array; returned.
    seed : int
    **params
        The method's parameters, e.g. ``prior="nonparametric"``, ``reference="scanner A"``; and
        ``train={"steps": 50}``, a study file's section, of methods that are trained.

    Returns
    -------
    DataFrame or (n, p) float64 array
        As `features`: index and columns are kept.

    Raises
    ------
    MotetError
        A sentence that names the batch, column, row or feature at fault.

    Examples
    --------
    >>> harmonized = motet.harmonize(X, batch=scanner, covariates=people[["age", "sex"]])
    """
    study, tables = pooled_tables(
        features,
        batch=batch,
        covariates=covariates,
        covariate_types=covariate_types,
        method=method,
        seed=seed,
        params=params,
    )
    values = np.empty(features.shape) if out is None else out
    if values.shape != features.shape or values.dtype != np.float64:
        raise DataError(
            f"'out' has shape {values.shape} and dtype {values.dtype}; it needs {features.shape} "
            "and float64."
        )
    result = fit_tables(study, tables, values)
    warn_user(result.warnings, stacklevel=2)
    if isinstance(features, pd.DataFrame):
        return pd.DataFrame(values, index=features.index, columns=features.columns)
    return values


def pooled_tables(
    features: pd.DataFrame | NDArray[Any],
    *,
    batch: Labels,
    covariates: pd.DataFrame | None,
    covariate_types: Mapping[str, CovariateType] | None,
    method: str,
    seed: int,
    params: Mapping[str, Any],
) -> tuple[Study, dict[str, Table]]:
    """One table for each batch, over the same values, and the study that harmonizes them."""
    covariates = same_rows(features, covariates)
    types = dict(covariate_types or {})
    if unknown := [name for name in types if name not in covariates.columns]:
        raise DataError(
            f"'covariate_types' names '{unknown[0]}', which is no column of 'covariates'.",
            do=nearest(unknown[0], map(str, covariates.columns)),
        )
    names = [str(name) for name in covariates.columns]
    given = {name: value for name, value in params.items() if name != "train"}
    train = params.get("train")
    study = parse_study(
        {
            "study": "harmonize",
            "method": method,
            "params": {**given, "covariates": {name: types.get(name, "auto") for name in names}},
            **({"train": train} if train else {}),
            "seed": seed,
            "federation": {"timeout": 24 * 3600.0},
            "evaluation": {"metrics": "none"},
            # One table at one place: nobody reads what somebody else may not.
            "privacy": {"secure_sum": False},
        }
    )
    labels = labels_of(batch, features)
    whole = from_arrays(
        features if isinstance(features, pd.DataFrame) else np.asarray(features),
        site="table",
        batch=labels,
        covariates=covariates,
        requests=requests(parse_params(study)),
        people=[f"row {row}" for row in range(len(features))],
    )
    for words in far_values(whole):
        python_warnings.warn(words, MotetWarning, stacklevel=4)
    tables = {name: whole.where(labels == name).as_site(name) for name in whole.batches}
    return study, tables


def fit_tables(study: Study, tables: dict[str, Table], values: NDArray[np.float64]) -> Result:
    """Run the study over tables that share one array; write into `values`."""
    if len(tables) < 2:
        raise DataError(
            f"All rows belong to one batch ('{next(iter(tables), '')}'): there is nothing to "
            "harmonize.",
            do="Pass the scanner or site of every row as 'batch'.",
        )
    return run_sites(
        study,
        tables,
        sink_of=lambda site: lambda table, about: array_sink(table, values),
    )


def labels_of(batch: Labels, features: Any) -> NDArray[np.str_]:
    """The batch of every row as text, (n,)."""
    if isinstance(batch, pd.Series) and isinstance(features, pd.DataFrame):
        _check_index(features, batch, "batch")
    cells = list(batch)
    if len(cells) != len(features):
        raise DataError(f"'batch' has {len(cells)} entries for {len(features)} rows.")
    names: dict[Any, str] = {}  # a label is read once, not once a person
    for row, cell in enumerate(cells):
        if cell in names:
            continue
        if is_absent(cell):
            raise DataError("The batch is not known.", do="Fill it in.", person=f"row {row}")
        names[cell] = level(cell)
    return np.array([names[cell] for cell in cells], dtype=np.str_)


def same_rows(features: Any, covariates: pd.DataFrame | None) -> pd.DataFrame:
    """The covariates, checked to belong to the rows of `features`."""
    if covariates is None:
        index = features.index if isinstance(features, pd.DataFrame) else None
        return pd.DataFrame(index=index if index is not None else pd.RangeIndex(len(features)))
    if isinstance(covariates, pd.Series):
        covariates = covariates.to_frame()
    if not isinstance(covariates, pd.DataFrame):
        raise DataError(
            f"'covariates' is a {type(covariates).__name__}; it has to be a DataFrame.",
            do="Name its columns: pandas.DataFrame({'age': age, 'sex': sex}).",
        )
    columns = [str(name) for name in covariates.columns]
    if len(set(columns)) < len(columns):
        raise DataError("'covariates' has a column twice.", do="Rename or drop it.")
    if len(covariates) != len(features):
        raise DataError(f"'covariates' has {len(covariates)} rows for {len(features)} people.")
    if isinstance(features, pd.DataFrame):
        _check_index(features, covariates, "covariates")
    return covariates


def _check_index(features: pd.DataFrame, other: pd.DataFrame | pd.Series, name: str) -> None:
    if len(other) == len(features) and not other.index.equals(features.index):
        raise DataError(
            f"'features' and '{name}' have different indexes: their rows may not belong to the "
            "same people.",
            do=f"Align them: {name} = {name}.loc[features.index].",
        )


def warn_user(warnings: Iterable[tuple[str, str]], *, stacklevel: int) -> None:
    """Tell the caller what the sites warned of."""
    for site, words in warnings:
        python_warnings.warn(f"{site}: {words}", MotetWarning, stacklevel=stacklevel + 1)

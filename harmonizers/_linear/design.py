"""The covariate columns of the design, without intercepts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.errors import DataError, nearest
from motet.schema import Covariate, Schema


def design_matrix(table: Table, schema: Schema) -> NDArray[np.float64]:
    """Covariate columns of the people of `table`.

    Continuous covariates as they are, or the columns of their spline; a categorical one becomes an
    indicator for each level but the first in sorted order.

    Returns
    -------
    W : (n, q) float64

    Raises
    ------
    DataError
        Names the person and the level that the study does not know.
    """
    columns = [columns_of(covariate, _values(table, covariate)) for covariate in schema.covariates]
    return np.hstack([np.zeros((len(table), 0)), *columns])


def _values(table: Table, covariate: Covariate) -> NDArray[Any]:
    """Numbers, or levels that the study knows, (n,)."""
    values = table.covariates[covariate.name].to_numpy()
    unknown = ~np.isin(values, covariate.levels) if covariate.levels else np.zeros(1, dtype=bool)
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise DataError(
            f"'{values[row]}' is not a level of '{covariate.name}' in this study "
            f"({', '.join(covariate.levels)}).",
            do=nearest(str(values[row]), covariate.levels)
            or "Correct the value, or fit a study that has this level.",
            site=table.site,
            column=covariate.name,
            person=table.who(row),
        )
    return values


def columns_of(covariate: Covariate, values: NDArray[Any]) -> NDArray[np.float64]:
    """Design columns of one covariate, (n, …), of its values, (n,)."""
    if covariate.spline:
        return covariate.spline.design(values)
    if covariate.kind == "continuous":
        return np.asarray(values, dtype=np.float64)[:, None]
    levels = np.array(covariate.levels[1:], dtype=object)
    return np.asarray(values[:, None] == levels[None, :], dtype=np.float64)

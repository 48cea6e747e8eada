"""The covariate columns of the design, without intercepts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.errors import DataError, nearest
from motet.schema import Schema


def design_matrix(table: Table, schema: Schema) -> NDArray[np.float64]:
    """Covariate columns of the people of `table`.

    Continuous covariates as they are; a categorical one becomes an indicator for each level but
    the first in sorted order.

    Returns
    -------
    W : (n, q) float64

    Raises
    ------
    DataError
        Names the person and the level that the study does not know.
    """
    columns = []
    for covariate in schema.covariates:
        values = table.covariates[covariate.name].to_numpy()
        if covariate.kind == "continuous":
            columns.append(values.astype(np.float64)[:, None])
            continue
        unknown = ~np.isin(values, covariate.levels)
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
        columns.append(values[:, None] == np.array(covariate.levels[1:], dtype=object)[None, :])
    if not columns:
        return np.zeros((len(table), 0))
    return np.hstack([np.asarray(column, dtype=np.float64) for column in columns])

"""New people whose covariates are unlike those of the fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from motet.schema import Schema

FAR = 4.0
"""Standard deviations of a covariate beyond which a network knows nothing of people."""


def far_from_fit(distance: NDArray[np.float64], schema: Schema) -> Sequence[str]:
    """Sentences of numbers that no network was trained on, one a covariate.

    Parameters
    ----------
    distance : (n, q) ndarray
        Of every column of the design from its mean in the fit, in standard deviations.
    schema : Schema
    """
    beyond = (np.abs(distance) > FAR).sum(axis=0)
    found = []
    for covariate in schema.covariates:
        if covariate.kind != "continuous":
            continue
        # A covariate's first column is itself, a curve's too.
        if n := int(beyond[schema.columns.index(covariate.name)]):
            found.append(
                f"{n} of {len(distance)} rows have a value of '{covariate.name}' more than {FAR:g} "
                "standard deviations from the mean of the fit: the networks were trained on nobody "
                "like them, so look at these people before using their values."
            )
    return found

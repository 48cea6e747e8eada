"""Whether the effects of covariates and biology columns are as they were in the raw data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from motet.evaluation.result import Metric, Reading
from motet.schema import Covariate

Float = NDArray[np.float64]


def kept_metrics(
    effects: Mapping[str, Mapping[str, Float]], covariates: Sequence[Covariate], *, n: int
) -> list[Metric]:
    """Compare the effects of each version with those in the raw data, over features.

    Parameters
    ----------
    effects : mapping of Version to mapping of design column to (p,) float64
        Standardized; NaN where not known. ``raw`` is needed.
    covariates : sequence of Covariate
        Whose levels' effects are compared together.
    n : int
        People behind them.
    """
    metrics = []
    for covariate in covariates:
        kept, slope = {}, {}
        for version, found in effects.items():
            x, y = (
                np.concatenate([of[column] for column in covariate.columns])
                for of in (effects["raw"], found)
            )
            known = np.isfinite(x) & np.isfinite(y)
            if known.sum() < 3 or not np.ptp(x[known]) or not np.ptp(y[known]):
                continue
            r = float(np.corrcoef(x[known], y[known])[0, 1])
            slope[version] = Reading(value=r * float(y[known].std() / x[known].std()), n=n)
            if version != "raw":
                kept[version] = Reading(value=r, n=n)
        name = covariate.name
        metrics += [
            Metric(
                name=f"effect_kept_{name}",
                title=f"Effect sizes of '{name}': correlation with the raw ones over features",
                aim="biology",
                better="higher",
                readings=kept,
            ),
            Metric(
                name=f"effect_slope_{name}",
                title=f"Effect sizes of '{name}': slope on the raw ones (1: as large)",
                aim="biology",
                better="raw",
                readings=slope,
            ),
        ]
    return [metric for metric in metrics if metric.readings]

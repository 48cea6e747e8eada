"""The last step of reading: the checks all tables share, and the site's public description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet.bids.checks import Place, check_finite, check_name
from motet.bids.covariates import Sort, describe
from motet.bids.table import Table
from motet.bids.travelers import Travelers
from motet.scale import Scale, power, powers
from motet.schema import SiteSchema

T = TypeVar("T", bound=Table)


def assembled(
    kind: type[T],
    *,
    place: Place,
    people: Sequence[str],
    sessions: Sequence[str] | None,
    values: NDArray[np.float64],
    features: tuple[str, ...],
    units: tuple[str, ...],
    covariates: pd.DataFrame,
    kinds: Mapping[str, Sort],
    batch: Sequence[str],
    rows: NDArray[np.intp] | None = None,
    source: Path | None = None,
    form: Literal["tsv", "npy", "memory"] = "memory",
    participants: pd.DataFrame | None = None,
    travelers: Travelers | None = None,
    grid: tuple[float, ...] = (),
    largest: float = 0.0,
    **others: Any,
) -> T:
    """Check values and batch names, describe the site, and make the table; no value is copied.

    The arguments are the fields of :class:`~motet.bids.table.Table`; `place` names the site and
    the file of the values, `kinds` says what each covariate is, `largest` bounds the intensities
    of images, and `kind` and `others` make another class of table.
    """
    for name in sorted(set(batch)):
        check_name(name, "batch", place=place)
    batch_of = np.array(batch, dtype=np.str_)
    table = kind(
        site=place.site,
        people=np.array(people, dtype=np.str_),
        sessions=None if sessions is None else np.array(sessions, dtype=np.str_),
        values=values,
        features=features,
        units=units,
        covariates=covariates,
        batch=batch_of,
        rows=rows,
        source=source,
        form=form,
        participants=pd.DataFrame() if participants is None else participants,
        travelers=travelers.people if travelers else {},
        consented=travelers.consented if travelers else frozenset(),
        described=SiteSchema(
            site=place.site,
            features=features,
            units=units,
            covariates=describe(covariates, kinds, batch_of),
            batches=tuple(sorted(set(batch))),
            grid=grid,
            scale=Scale(
                rows=power(len(people)),
                features=powers(values, slice(None) if rows is None else rows),
                covariates=tuple(
                    0 if sort == "categorical" else power(covariates[name])
                    for name, sort in kinds.items()
                ),
                voxels=power(largest),
            ),
        ),
        **others,
    )
    if form == "tsv":
        # Arrays are as large as they like: the pass that sums them looks for infinite values.
        check_finite(values, rows, who=table.who, features=features, place=place)
    return table

"""Harmonizing people with a model: of known batches, and of batches the model never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.local_site import LocalSite, silent
from motet.errors import ModelError, listed
from motet.harmonizer import Harmonizer, Params, SiteModel
from motet.phases import walk
from motet.releases import Arrays
from motet.schema import Schema

Blocks = Iterator[tuple[slice, NDArray[Any]]]


def check_features(table: Table, schema: Schema) -> None:
    """Refuse data of another feature set than the model's."""
    if table.features == schema.features:
        return
    missing = [f for f in schema.features if f not in set(table.features)]
    extra = [f for f in table.features if f not in set(schema.features)]
    if missing or extra:
        lacks = f" lack {listed(missing)}" if missing else ""
        have = f" have {listed(extra)}, which the model does not know" if extra else ""
        raise ModelError(
            f"The model was fitted on {len(schema.features)} features. These data"
            f"{' and'.join(part for part in (lacks, have) if part)}.",
            do="Apply the model to the features it was fitted on.",
            site=table.site,
            feature=(missing + extra)[0],
        )
    j = next(j for j, f in enumerate(schema.features) if table.features[j] != f)
    raise ModelError(
        f"The features are in another order than in the model: number {j + 1} is "
        f"'{table.features[j]}' here and '{schema.features[j]}' there.",
        do="Bring the columns into the model's order.",
        site=table.site,
        feature=table.features[j],
    )


def harmonized(
    table: Table,
    *,
    method: Harmonizer,
    params: Params,
    schema: Schema,
    shared: Arrays,
    model: SiteModel | None,
    seed: int = 0,
    say: Callable[[str], None] = silent,
) -> Blocks:
    """Harmonize all people of a table.

    People of batches that `model` knows are adjusted with it; those of other batches (a new
    scanner, or a whole unseen site with ``model=None``) with effects estimated here from
    themselves alone, the shared estimates frozen. Nothing leaves.

    Yields
    ------
    columns : slice
    values : (n, c) float64
        The buffer may be used again for the next chunk.
    """
    check_features(table, schema)
    known = np.isin(table.batch, model.batches if model else ())
    if model is not None and known.all():
        return method.apply(params, table, model, shared, schema)
    unseen = table.where(~known)
    if any(phase.leaves for phase, _ in walk(method.join(params, schema))):
        raise ModelError(
            f"'{method.name}' needs an exchange with the coordinator for a batch it never saw "
            f"({listed(unseen.batches)}).",
            site=table.site,
        )
    say(
        f"{listed(unseen.batches)}: not in the model; fitted on {len(unseen)} people of this "
        "site, nothing leaves."
    )
    site = LocalSite(name=table.site, schema=schema, data=unseen, seed=seed, say=say)
    joined = method.site_model(params, site, shared)
    new = method.apply(params, unseen, joined, shared, schema)
    if model is None or not known.any():
        return new
    old = method.apply(params, table.where(known), model, shared, schema)
    return _interleaved(known, old, new)


def _interleaved(known: NDArray[np.bool_], old: Blocks, new: Blocks) -> Blocks:
    for (columns, of_old), (_, of_new) in zip(old, new, strict=True):
        values = np.empty((len(known), of_old.shape[1]))
        values[known], values[~known] = of_old, of_new
        yield columns, values

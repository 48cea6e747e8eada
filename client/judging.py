"""The site as the phases of an evaluation see it: everybody's values in three versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.alone import alone
from motet.client.apply import harmonized
from motet.client.local_site import LocalSite, silent
from motet.errors import MotetError
from motet.evaluation.moments import FAILED_ALONE
from motet.harmonizer import SiteModel
from motet.plan import Plan
from motet.releases import Arrays
from motet.room import room


def judged_site(
    table: Table,
    *,
    fit: NDArray[np.bool_],
    plan: Plan,
    shared: Arrays,
    model: SiteModel,
    say: Callable[[str], None] = silent,
) -> LocalSite:
    """Everybody of a site, with their raw, local-only and harmonized values.

    The values are made when the first phase reads them.

    Parameters
    ----------
    table : Table
    fit : (n,) bool
        Who was in the fit.
    plan : Plan
    shared : mapping of str to ndarray
        The finished shared model.
    model : SiteModel
    say : callable
        Takes what the site should read in its own log.
    """

    def after() -> Table:
        values = room((len(table), len(table.features)), np.dtype(np.float64))
        for rows, block in harmonized(
            table,
            method=plan.harmonizer,
            params=plan.params,
            schema=plan.schema,
            shared=shared,
            model=model,
            seed=plan.seed,
        ):
            values[rows] = table.measured(rows, block)
        return replace(table, values=values, rows=None)

    def failed(error: MotetError) -> None:
        site.keep[FAILED_ALONE] = np.asarray(1, dtype=np.int64)
        site.warn(
            f"The method failed on the people of {table.site} alone, so the local-only values that "
            f"the study is compared with are raw there. {error}"
        )

    def floor() -> Table:
        if plan.harmonizer.card.by_batch and len(table.batches) < 2:
            return table
        values = alone(
            table,
            fit,
            method=plan.harmonizer,
            params=plan.params,
            schema=plan.schema,
            seed=plan.seed,
            failed=failed,
        )
        return replace(table, values=values, rows=None)

    site = LocalSite(
        name=table.site,
        schema=plan.schema,
        data=table,
        seed=plan.seed,
        fitted=fit,
        versions=Versions({"raw": lambda: table, "local_only": floor, "harmonized": after}),
        say=say,
    )
    return site


class Versions(Mapping[str, Table]):
    """Tables by version, each made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Table]]) -> None:
        self._makers = makers
        self._made: dict[str, Table] = {}

    def __getitem__(self, version: str) -> Table:
        if version not in self._made:
            self._made[version] = self._makers[version]()
        return self._made[version]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

"""The smallest complete method: bring every batch's mean to the mean of all people.

It keeps no covariates and shows each part that a method needs. ComBat is the one to use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizer import Card, Params, SiteModel
from motet.phases import Step, Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site


class TemplateParams(Params):
    """Options of the method; every field is checked, and named in errors.

    Parameters
    ----------
    strength : float
        Share of a batch's shift that is removed.
    """

    strength: float = 1.0


@dataclass(frozen=True)
class Mean:
    """The phase. A frozen dataclass, so that a plan can be hashed and rebuilt at every site."""

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """At the site: exactly the declared arrays."""
        values = site.data.block(slice(None))
        return {
            "people": np.asarray(len(values), dtype=np.int64),
            "sum_y": values.sum(axis=0),
        }

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sum exceeds: public, so that sums can be masked."""
        return {"sum_y": size.rows * size.features}

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """At the coordinator: what joins the shared model."""
        return {"mean": sums["sum_y"] / sums["people"]}


class Template:
    """Mean centring."""

    name: ClassVar[str] = "template"
    params_type: ClassVar[type[Params]] = TemplateParams
    card: ClassVar[Card] = Card(
        title="Mean centring",
        summary="Brings every batch's mean to the mean of all people.",
        data="table",
        papers=(),
        leaves="one sum over sites: 8 p + 8 bytes a site",
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """The steps of a fit; each declares what leaves."""
        mean = Mean()
        return (
            Sum(
                name="mean",
                arrays=(
                    ArraySpec(
                        name="people", shape=(), dtype="int64", least=0, meaning="number of people"
                    ),
                    ArraySpec(name="sum_y", shape=("p",), meaning="sum of every feature"),
                ),
                at_site=mean.send,
                at_coordinator=mean.conclude,
                bounds=mean.bounds,
            ),
        )

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """An unseen site: nothing leaves."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """What stays at the site: each batch's shift, (K, p)."""
        shifts = [site.data.of_batch(b).block(slice(None)).mean(axis=0) for b in site.batches]
        shift = np.reshape(shifts, (len(site.batches), len(shared["mean"]))) - shared["mean"]
        return SiteModel(site=site.name, batches=site.batches, arrays={"shift": shift})

    def apply(
        self, params: Any, data: Table, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Harmonize, some people at a time."""
        for row in range(len(data)):
            k = model.batches.index(str(data.batch[row]))
            rows = slice(row, row + 1)
            yield rows, data.rows_block(rows) - params.strength * model.arrays["shift"][k]

"""ComBat on what phi leaves: with phi fixed, a ComBat without covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizer import SiteModel
from motet.harmonizers._linear.fit import (
    MOMENTS,
    MOMENTS_OF_INCOMPLETE,
    Fit,
    bounds_of_moments,
    reference_steps,
)
from motet.harmonizers._linear.model import site_model
from motet.harmonizers._linear.options import reference_batch
from motet.harmonizers.fed_combat.covariates import Effects
from motet.harmonizers.fed_combat.params import FedComBatParams
from motet.phases import Step, Sum
from motet.releases import Arrays, ArraySpec, Size
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site

OF_COVARIATES = ("sum_w", "ww", "wy")
"""ComBat's sums that are empty without covariates: they do not leave."""


@dataclass(frozen=True)
class Residuals:
    """ComBat's fit of alpha and sigma, and a site's gamma and delta, about phi.

    Parameters
    ----------
    params : FedComBatParams
    schema : Schema
    """

    params: FedComBatParams
    schema: Schema

    @property
    def without(self) -> Schema:
        """The schema without covariates."""
        return replace(self.schema, covariates=())

    @cached_property
    def fit(self) -> Fit:
        """ComBat's."""
        return Fit(self.params, self.without, reference_batch(self.params, self.schema))

    def steps(self) -> Sequence[Step]:
        """One sum; a second for incomplete features where there are any; the reference batch."""
        return (
            Sum(
                name="residuals",
                arrays=_declared(MOMENTS),
                at_site=self.send,
                at_coordinator=self.estimate,
                bounds=self.bounds,
                sets=(Size(name="incomplete", at_most="p"),),
            ),
            Sum(
                name="residuals_of_incomplete",
                when="incomplete",
                arrays=_declared(MOMENTS_OF_INCOMPLETE),
                at_site=self.send_incomplete,
                at_coordinator=self.estimate_incomplete,
                bounds=self.bounds_of_incomplete,
            ),
            *reference_steps(self.fit, "p"),
        )

    def _over(self, site: Site, shared: Arrays) -> Site:
        phi = Effects(self.params, self.schema, shared).of(site.data)
        values = site.data.block(slice(None)) - phi
        return site.over(replace(site.data, values=values, rows=None))

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Sums over the site's batches; the batches' own moments stay in ``site.keep``."""
        sums = self.fit.send_moments(self._over(site, shared), shared)
        varies = varying(site.data, site.batches) & (sums["missing"] == 0)
        site.keep["complete.varies"] = varies
        return _alone(sums, varies)

    def send_incomplete(self, site: Site, shared: Arrays) -> Arrays:
        """Sums for the features that lack a value somewhere, over the people who have one."""
        sums = self.fit.send_incomplete(self._over(site, shared), shared)
        varies = varying(site.data, site.batches)[:, shared["incomplete"].astype(np.intp)]
        site.keep["observed.varies"] = varies
        return _alone(sums, varies)

    def estimate(self, sums: Arrays, shared: Arrays) -> Arrays:
        """The complete features' alpha and var_pooled, and an empty beta."""
        return self.fit.estimate({**sums, **_empty((), len(sums["sum_y"]))}, shared)

    def estimate_incomplete(self, sums: Arrays, shared: Arrays) -> Arrays:
        """The same of each incomplete feature."""
        count = len(sums["sum_y"])
        return self.fit.estimate_incomplete({**sums, **_empty((count,), count)}, shared)

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """A residual is no larger than a feature and phi together."""
        features = size.features + Effects(self.params, self.schema, shared).bound(size)
        found = bounds_of_moments(size.rows, np.zeros(0), features)
        return {name: found[name] for name in ("sum_y", "yy")}

    def bounds_of_incomplete(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """The same of the incomplete features."""
        features = shared["incomplete"].astype(np.intp)
        return {name: bound[features] for name, bound in self.bounds(size, shared).items()}

    def model(self, site: Site, shared: Arrays) -> SiteModel:
        """gamma_star and delta_star, (K, p) each, of the site's batches."""
        if "complete.n" not in site.keep:
            # An unseen site or batch: whatever it lacks, no other site has to.
            missing = self._missing(site, shared)
            shared = {**shared, "incomplete": missing}
            if len(missing):
                self.send_incomplete(site, shared)
        one_pool = np.full(len(self.schema.features), -1, dtype=np.intp)
        return site_model(site, shared, params=self.params, group=one_pool)

    def _missing(self, site: Site, shared: Arrays) -> NDArray[np.intp]:
        return np.flatnonzero(self.send(site, shared)["missing"])


def varying(table: Table, batches: tuple[str, ...]) -> NDArray[np.bool_]:
    """Where a feature itself is not constant in a batch, (K, p): its residuals never quite are."""
    found = []
    for batch in batches:
        y = table.where(table.batch == batch).block(slice(None))
        seen = np.isfinite(y)
        found.append(
            y.max(axis=0, initial=-np.inf, where=seen) > y.min(axis=0, initial=np.inf, where=seen)
        )
    return np.array(found)


def _declared(specs: tuple[ArraySpec, ...]) -> tuple[ArraySpec, ...]:
    return tuple(
        replace(spec, meaning=spec.meaning.replace("feature", "feature's residuals"))
        if spec.name in ("sum_y", "yy")
        else spec
        for spec in specs
        if spec.name not in OF_COVARIATES
    )


def _alone(sums: Arrays, varies: NDArray[np.bool_]) -> Arrays:
    found = {name: array for name, array in sums.items() if name not in OF_COVARIATES}
    return {**found, "varies": varies.sum(axis=0, dtype=np.int32)}


def _empty(each: tuple[int, ...], features: int) -> dict[str, NDArray[Any]]:
    shapes = {"sum_w": (*each, 0), "ww": (*each, 0, 0), "wy": (0, features)}
    return {name: np.zeros(shape) for name, shape in shapes.items()}

"""Scales of features and covariates within batches: in them training is easy.

What lies between batches is the batch intercepts', and no part of it. The sums are ComBat's without
the products of features and covariates, so that they say nothing of any effect; with the products
missing, ComBat's estimates are the features' spread, and its errors name what cannot be estimated.
In white covariates the squared error of a line has the identity for its second derivative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers._linear.fit import MOMENTS, MOMENTS_OF_INCOMPLETE, Fit
from motet.harmonizers.fed_combat.params import FedComBatParams
from motet.phases import Step, Sum
from motet.releases import Arrays, Size
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site

Float = NDArray[np.float64]
ABSENT = ("sum_y", "wy")
ABSENT_OF_INCOMPLETE = (*ABSENT, "sum_w")
KEPT = "scale."


@dataclass(frozen=True)
class Scale:
    """The sum, and that of incomplete features.

    Parameters
    ----------
    params : FedComBatParams
    schema : Schema
    """

    params: FedComBatParams
    schema: Schema

    @property
    def fit(self) -> Fit:
        """ComBat's."""
        return Fit(self.params, self.schema, None)

    def steps(self) -> Sequence[Step]:
        """One sum; a second for incomplete features where there are any."""
        return (
            Sum(
                name="scale",
                arrays=tuple(spec for spec in MOMENTS if spec.name not in ABSENT),
                at_site=self.send,
                at_coordinator=self.conclude,
                bounds=self.bounds,
                sets=(Size(name="incomplete", at_most="p"),),
            ),
            Sum(
                name="scale_of_incomplete",
                when="incomplete",
                arrays=tuple(
                    spec for spec in MOMENTS_OF_INCOMPLETE if spec.name not in ABSENT_OF_INCOMPLETE
                ),
                at_site=self.send_incomplete,
                at_coordinator=self.conclude_incomplete,
                bounds=self.bounds_of_incomplete,
            ),
        )

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Sums over the site's batches."""
        return _present(self.fit.send_moments(site.over(site.data, under=KEPT), shared))

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Means and white axes of the covariates, sd of the features, and which have one.

        Raises
        ------
        DesignError
            When covariates are collinear or confounded with the batches, or people are too few.
        """
        found = self.fit.estimate({**sums, **self._absent(len(sums["yy"]))}, shared)
        n = float(sums["people"])
        return {
            "people": found["people"],
            "incomplete": found["incomplete"],
            "w_mean": sums["sum_w"] / n,
            "w_white": whitening(sums["ww"] / n),
            **_spread(found),
        }

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums exceed."""
        return _present(self.fit.bounds(size, shared))

    def send_incomplete(self, site: Site, shared: Arrays) -> Arrays:
        """Sums for the features that lack a value somewhere, over the people who have one."""
        sums = self.fit.send_incomplete(site.over(site.data, under=KEPT), shared)
        return _present(sums, ABSENT_OF_INCOMPLETE)

    def conclude_incomplete(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Standard deviations of the incomplete features, too.

        Raises
        ------
        DesignError
            When the people who have a feature do not tell covariates apart; names the feature.
        """
        p, q = len(shared["sd"]), len(self.schema.columns)
        before = {
            "incomplete": shared["incomplete"],
            "alpha": np.zeros(p),
            "beta": np.zeros((q, p)),
            "var_pooled": np.square(shared["sd"]),
            "adjustable": shared["used"],
        }
        count = len(sums["yy"])
        sums = {**sums, **self._absent(count), "sum_w": np.zeros((count, q))}
        return _spread(self.fit.estimate_incomplete(sums, before))

    def bounds_of_incomplete(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums over the incomplete features exceed."""
        return _present(self.fit.bounds_of_incomplete(size, shared), ABSENT_OF_INCOMPLETE)

    def _absent(self, features: int) -> dict[str, Float]:
        q = len(self.schema.columns)
        return {"sum_y": np.zeros(features), "wy": np.zeros((q, features))}


def _present(arrays: Mapping[str, Any], absent: tuple[str, ...] = ABSENT) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if name not in absent}


def _spread(found: Arrays) -> Arrays:
    used = found["adjustable"].astype(bool)
    return {"sd": np.where(used, np.sqrt(found["var_pooled"]), 1.0), "used": used}


def whitening(covariance: Float) -> Float:
    """(q, q) A with ``A' covariance A`` the identity, and axes near those of the covariates."""
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T / scale[:, None])

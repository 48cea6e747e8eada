"""Means and standard deviations over all sites, from two sums: the second centred at the first's.

Centred within batch they would lack what batches differ by, which scaling has to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.errors import DataError, DesignError, listed
from motet.harmonizers._linear.design import design_matrix
from motet.phases import Step, Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site

SPAN = 4.0
"""Standard deviations of a covariate that become 1, half of them on each side of its mean."""


@dataclass(frozen=True)
class Scale:
    """Both sums.

    Parameters
    ----------
    schema : Schema
    """

    schema: Schema

    def steps(self) -> Sequence[Step]:
        """The phases."""
        return (
            Sum(
                name="mean",
                arrays=(
                    ArraySpec(
                        name="people",
                        shape=(),
                        dtype="int64",
                        least=0,
                        meaning="number of rows: people, or their sessions",
                    ),
                    ArraySpec(name="sum_y", shape=("p",), meaning="sum of every complete feature"),
                    ArraySpec(
                        name="sum_w",
                        shape=("q",),
                        support="cell",
                        meaning="sum of every covariate column",
                    ),
                    ArraySpec(
                        name="missing",
                        shape=("p",),
                        dtype="int32",
                        least=0,
                        meaning="1 where the site lacks a value of the feature for somebody",
                    ),
                ),
                at_site=self.send_sums,
                at_coordinator=self.means,
                bounds=self.bounds_of_sums,
            ),
            Sum(
                name="spread",
                arrays=(
                    ArraySpec(
                        name="yy",
                        shape=("p",),
                        least=0,
                        meaning="squares of every complete feature about its mean over all sites",
                    ),
                    ArraySpec(
                        name="ww",
                        shape=("q",),
                        least=0,
                        support="cell",
                        meaning="squares of every covariate column about its mean over all sites",
                    ),
                ),
                at_site=self.send_squares,
                at_coordinator=self.spreads,
                bounds=self.bounds_of_squares,
            ),
        )

    def send_sums(self, site: Site, shared: Arrays) -> Arrays:
        """Sums over the site's people.

        Raises
        ------
        DataError
            Where somebody has no value at all: networks would see no feature.
        """
        values, W = site.data.block(slice(None)), design_matrix(site.data, self.schema)
        _tell_of_missing(site, np.isnan(values))
        missing = ~np.isfinite(values).all(axis=0)
        return {
            "people": np.asarray(len(values), dtype=np.int64),
            "sum_y": np.where(missing, 0.0, values.sum(axis=0)),
            "sum_w": W.sum(axis=0),
            "missing": missing.astype(np.int32),
        }

    def means(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Number of people, means, and which features are complete at every site."""
        return {
            "people": sums["people"],
            "mean": sums["sum_y"] / sums["people"],
            "w_mean": sums["sum_w"] / sums["people"],
            "complete": sums["missing"] == 0,
        }

    def bounds_of_sums(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums exceed."""
        return {"sum_y": size.rows * size.features, "sum_w": size.rows * size.columns}

    def send_squares(self, site: Site, shared: Arrays) -> Arrays:
        """Squares about the means of all sites."""
        values, W = site.data.block(slice(None)), design_matrix(site.data, self.schema)
        squares = np.square(values - shared["mean"]).sum(axis=0)
        return {
            "yy": np.where(shared["complete"], squares, 0.0),
            "ww": np.square(W - shared["w_mean"]).sum(axis=0),
        }

    def spreads(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Scales of features, and of covariates as numbers of about 0 to 1.

        The published code maps covariates by their smallest and largest value, which are single
        people's: here two standard deviations about the mean become 0 and 1, and indicator
        columns stay what they are.

        Raises
        ------
        DesignError
            Where there is no feature that everybody has.
        """
        divisor = np.maximum(shared["people"] - 1.0, 1.0)
        sd = np.sqrt(sums["yy"] / divisor)
        # A constant leaves rounding: its square is far below this share of its mean's.
        used = shared["complete"].astype(bool) & (sd > 1e-12 * np.abs(shared["mean"])) & (sd > 0)
        if not used.any():
            raise DesignError(
                f"None of the {len(used)} features has a value of everybody at every site and "
                "varies: networks have nothing to learn from.",
                do="Every site's log says who lacks values: take these people out, or the features "
                "that they lack; or use combat, which fits every feature on those who have it.",
            )
        w_sd = np.sqrt(sums["ww"] / divisor)
        varies = w_sd > 1e-12 * np.abs(shared["w_mean"])
        numbers = np.array(
            [c.kind == "continuous" for c in self.schema.covariates for _ in c.columns], dtype=bool
        )
        span = np.where(numbers & varies, SPAN * w_sd, 1.0)
        return {
            "sd": np.where(used, sd, 1.0),
            "used": used,
            "low": np.where(numbers, shared["w_mean"] - 0.5 * span, 0.0),
            "range": span,
        }

    def bounds_of_squares(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums exceed: a mean is no larger than what it is of."""
        return {
            "yy": size.rows * (2 * size.features) ** 2,
            "ww": size.rows * (2 * size.columns) ** 2,
        }


def _tell_of_missing(site: Site, missing: NDArray[np.bool_]) -> None:
    """Name who lacks values, (n, p) bool, to the site: networks see what everybody has."""
    if not missing.any():
        return
    count, features = missing.sum(axis=1), missing.shape[1]
    if empty := [site.data.who(i) for i in np.flatnonzero(count == features)]:
        raise DataError(
            f"No feature of {listed(empty)} has a value.",
            do="Take them out of the site's files: networks see the features that everybody has.",
            site=site.name,
            file=site.data.source,
            person=empty[0],
        )
    worst = int(count.argmax())
    site.warn(
        f"networks do not see {int(missing.any(axis=0).sum())} of {features} features, of which "
        f"somebody here lacks the value; {site.data.who(worst)} lacks the most, {count[worst]}."
    )

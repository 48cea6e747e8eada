"""The phases of a ComBat fit: what each site sends and what the coordinator makes of it.

A complete table takes one sum. Where cells are missing, a second sum carries moments for the
incomplete features alone; a reference batch adds one release of that batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import DesignError
from motet.harmonizers._linear.design import design_matrix
from motet.harmonizers._linear.estimate import Estimates, pooled, residual_ss
from motet.harmonizers._linear.moments import Moments, batch_moments, observed_moments
from motet.harmonizers._linear.options import Options
from motet.phases import Publish, Step, Who
from motet.releases import Arrays, ArraySpec, Dim
from motet.scale import Bounds, Magnitudes
from motet.schema import Batch, Schema
from motet.site import Site

Float = NDArray[np.float64]


def _moments(features: Dim, each: tuple[str, ...], people: str) -> tuple[ArraySpec, ...]:
    """Declare the sums for `features`, whose people are the same (`each` is empty) or their own."""
    return (
        ArraySpec(name="people", shape=each, dtype="int64", least=0, meaning=f"number of {people}"),
        ArraySpec(name="sum_y", shape=(features,), meaning="sum of every feature"),
        ArraySpec(
            name="sum_w",
            shape=(*each, "q"),
            meaning=f"sum of every covariate column over the {people}",
            support="cell",
        ),
        ArraySpec(
            name="ww",
            shape=(*each, "q", "q"),
            meaning=f"products of covariate columns over the {people}, centred within batch",
            support="cell",
        ),
        ArraySpec(
            name="wy",
            shape=("q", features),
            meaning="products of covariate columns and features, centred within batch",
            support="cell",
        ),
        ArraySpec(
            name="yy",
            shape=(features,),
            least=0,
            meaning="squares of every feature, centred within batch",
        ),
        ArraySpec(
            name="varies",
            shape=(features,),
            dtype="int32",
            least=0,
            meaning="number of the site's batches within which the feature is not constant",
        ),
    )


def complete_moments(features: Dim) -> tuple[ArraySpec, ...]:
    """The sums over people who have all features; `features` names their number."""
    return _moments(features, (), "rows: people, or their sessions")


MOMENTS = (
    *complete_moments("p"),
    ArraySpec(
        name="missing",
        shape=("p",),
        dtype="int32",
        least=0,
        meaning="1 where the site lacks a value of the feature for somebody",
    ),
)

MOMENTS_OF_INCOMPLETE = (
    *_moments("incomplete", ("incomplete",), "rows with a value"),
    ArraySpec(
        name="batches",
        shape=("incomplete",),
        dtype="int32",
        least=0,
        meaning="number of the site's batches in which anybody has a value",
    ),
)


def of_reference(features: Dim) -> tuple[ArraySpec, ...]:
    """What the reference batch publishes."""
    return (
        ArraySpec(name="alpha", shape=(features,), meaning="the reference batch's intercepts"),
        ArraySpec(
            name="var_pooled",
            shape=(features,),
            least=0,
            meaning="the reference batch's residual variances",
        ),
    )


def kept(keep: Mapping[str, NDArray[Any]], prefix: str) -> Moments:
    """The moments that an earlier phase kept at the site."""
    return Moments(**{name: keep[f"{prefix}.{name}"] for name in Moments.__dataclass_fields__})


def _keep(site: Site, prefix: str, moments: Moments) -> None:
    for name in Moments.__dataclass_fields__:
        site.keep[f"{prefix}.{name}"] = getattr(moments, name)


SAME_PEOPLE = ("people", "sum_w", "ww")
"""Sums that do not depend on the feature where all features have the same people."""


def _summed(m: Moments) -> dict[str, NDArray[Any]]:
    """Sums over a site's batches; those of ``SAME_PEOPLE`` have the features' axis first."""
    return {
        "people": m.n.sum(axis=0).astype(np.int64),
        "sum_y": (m.n * m.mean_y).sum(axis=0),
        "sum_w": (m.n[..., None] * m.mean_w).sum(axis=0),
        "ww": m.ww.sum(axis=0),
        "wy": m.wy.sum(axis=0),
        "yy": m.yy.sum(axis=0),
        "varies": m.varies.sum(axis=0, dtype=np.int32),
    }


def bounds_of_moments(rows: float, columns: Float, features: Float) -> Bounds:
    """What a site's sums cannot exceed; what is centred is no larger than what is not.

    Parameters
    ----------
    rows : float
    columns : (q,), features : (p,)
        Largest absolute values.
    """
    return {
        "sum_y": rows * features,
        "sum_w": rows * columns,
        "ww": rows * columns[:, None] * columns,
        "wy": rows * columns[:, None] * features,
        "yy": rows * features**2,
    }


def estimates_in(shared: Arrays) -> Estimates:
    """The estimates of the shared model."""
    return Estimates(
        alpha=shared["alpha"].astype(np.float64, copy=False),
        beta=shared["beta"].astype(np.float64, copy=False),
        var_pooled=shared["var_pooled"].astype(np.float64, copy=False),
    )


def reference_steps(fit: Fit, features: str) -> tuple[Step, ...]:
    """The reference batch's release where there is one; `features` names their number."""
    if fit.reference is None:
        return ()
    return (
        Publish(
            name="reference",
            who=Who(site=fit.reference.site),
            arrays=of_reference(features),
            at_site=fit.send_reference,
            at_coordinator=fit.take_reference,
        ),
    )


@dataclass(frozen=True)
class Fit:
    """A ComBat fit for given options and schema."""

    params: Options
    schema: Schema
    reference: Batch | None

    def send_moments(self, site: Site, shared: Arrays) -> Arrays:
        """Sums over the site's batches; the batches' own moments stay in ``site.keep``."""
        W = design_matrix(site.data, self.schema)
        m, incomplete = batch_moments(site.data, W, site.batches)
        _keep(site, "complete", m)
        sums = _summed(m)
        return {
            **{k: np.asarray(v[0]) if k in SAME_PEOPLE else v for k, v in sums.items()},
            "missing": incomplete.astype(np.int32),
        }

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums over all features exceed."""
        return bounds_of_moments(size.rows, size.columns, size.features)

    def bounds_of_incomplete(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums over the incomplete features exceed."""
        features = size.features[shared["incomplete"].astype(np.intp)]
        return bounds_of_moments(size.rows, size.columns, features)

    def estimate(self, sums: Arrays, shared: Arrays) -> Arrays:
        """alpha, beta and var_pooled of the complete features; which features are incomplete."""
        estimates = pooled(
            n=sums["people"].astype(np.float64),
            **{k: sums[k].astype(np.float64) for k in ("sum_y", "sum_w", "ww", "wy", "yy")},
            batches=len(self.schema.batches),
            schema=self.schema,
        )
        return {
            "alpha": estimates.alpha,
            "beta": estimates.beta,
            "var_pooled": estimates.var_pooled,
            "adjustable": (sums["varies"] > 0) & (estimates.var_pooled > 0),
            "incomplete": np.flatnonzero(sums["missing"]).astype(np.int64),
            "people": sums["people"],
        }

    def send_incomplete(self, site: Site, shared: Arrays) -> Arrays:
        """Sums for the features that lack a value somewhere, over the people who have one."""
        W = design_matrix(site.data, self.schema)
        m = observed_moments(site.data, W, site.batches, shared["incomplete"].astype(np.intp))
        _keep(site, "observed", m)
        return {**_summed(m), "batches": (m.n > 0).sum(axis=0, dtype=np.int32)}

    def estimate_incomplete(self, sums: Arrays, shared: Arrays) -> Arrays:
        """One least-squares fit for each incomplete feature, with divisor its observed people."""
        result = {name: np.array(shared[name]) for name in ("alpha", "beta", "var_pooled")}
        adjustable = np.array(shared["adjustable"])
        for i, j in enumerate(shared["incomplete"]):
            adjustable[j] = sums["varies"][i] > 0
            if not adjustable[j]:
                continue
            try:
                one = pooled(
                    n=sums["people"][i].astype(np.float64),
                    sum_y=sums["sum_y"][i : i + 1].astype(np.float64),
                    sum_w=sums["sum_w"][i].astype(np.float64),
                    ww=sums["ww"][i].astype(np.float64),
                    wy=sums["wy"][:, i : i + 1].astype(np.float64),
                    yy=sums["yy"][i : i + 1].astype(np.float64),
                    batches=int(sums["batches"][i]),
                    schema=self.schema,
                )
            except DesignError as error:
                raise DesignError(
                    f"Among the people with a value: {error.what}",
                    do="Drop the feature, or find its missing values.",
                    feature=self.schema.features[j],
                    **error.where,
                ) from error
            result["alpha"][j] = one.alpha[0]
            result["beta"][:, j] = one.beta[:, 0]
            result["var_pooled"][j] = one.var_pooled[0]
            adjustable[j] = one.var_pooled[0] > 0
        return {**result, "adjustable": adjustable}

    def send_reference(self, site: Site, shared: Arrays) -> Arrays:
        """Intercepts and residual variances of the reference batch, given the pooled beta.

        A feature that is constant in the reference has no scale to bring others to: its variance
        goes out as 0, and the feature is left as it is everywhere. (With covariates its formula
        would give the spread of the covariates' effect alone.)
        """
        if self.reference is None or self.reference.name not in site.batches:
            raise DesignError(
                f"The reference batch '{self.params.reference}' has nobody in the fit.",
                do="Hold out fewer people, or name another reference.",
            )
        k = site.batches.index(self.reference.name)
        beta = estimates_in(shared).beta
        m = kept(site.keep, "complete")
        alpha = m.mean_y[k] - m.mean_w[k, 0] @ beta
        var = residual_ss(m.yy[k], m.wy[k], m.ww[k, 0], beta) / m.n[k] * m.varies[k]
        if len(shared["incomplete"]):
            m = kept(site.keep, "observed")
            for i, j in enumerate(shared["incomplete"]):
                b, n = beta[:, j : j + 1], m.n[k, i]
                alpha[j] = m.mean_y[k, i] - m.mean_w[k, i] @ b[:, 0]
                rss = residual_ss(m.yy[k, i : i + 1], m.wy[k][:, i : i + 1], m.ww[k, i], b)
                var[j] = rss[0] / n if m.varies[k, i] else 0.0
        return {"alpha": alpha, "var_pooled": var}

    def take_reference(self, published: Arrays, shared: Arrays) -> Arrays:
        """Standardize to the reference batch instead of the pooled sample."""
        site = "" if self.reference is None else self.reference.site
        alpha, var = published[f"{site}/alpha"], published[f"{site}/var_pooled"]
        return {
            "alpha": alpha,
            "var_pooled": var,
            "adjustable": shared["adjustable"].astype(bool) & (var > 0),
        }

"""The site's half of a ComBat fit as a whole: from what it kept, or its people, to its model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.errors import listed
from motet.harmonizer import SiteModel
from motet.harmonizers._linear.adjust import adjusted, coefficients
from motet.harmonizers._linear.design import design_matrix
from motet.harmonizers._linear.effects import batch_effects, standardized
from motet.harmonizers._linear.estimate import Estimates
from motet.harmonizers._linear.fit import estimates_in, kept
from motet.harmonizers._linear.moments import batch_moments, observed_moments
from motet.harmonizers._linear.options import Options, reference_batch
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site

Float = NDArray[np.float64]


def site_model(
    site: Site, shared: Arrays, *, params: Options, group: NDArray[np.intp]
) -> SiteModel:
    """gamma_star and delta_star, (K, p) each, of the site's batches.

    From the moments that the fit kept; an unseen site or batch computes them here, over the
    people observed for each feature.

    Parameters
    ----------
    site : Site
        Its data are a table of the p features.
    shared : mapping of str to ndarray
    params : Options
    group : (p,) int
        Number of the prior pool of every feature.
    """
    estimates, adjustable = estimates_in(shared), shared["adjustable"].astype(bool)
    n, gamma_hat, delta_hat, scaled = _evidence(site, shared, estimates)
    reference = params.reference and reference_batch(params, site.schema)
    gamma_star, delta_star = np.zeros_like(gamma_hat), np.ones_like(gamma_hat)
    for k, batch in enumerate(site.batches):
        if reference and (reference.site, reference.name) == (site.name, batch):
            continue
        _warn_of(site, batch, n[k], scaled[k], adjustable)
        gamma_star[k], delta_star[k] = batch_effects(
            n=n[k],
            gamma_hat=gamma_hat[k],
            delta_hat=delta_hat[k],
            scaled=scaled[k],
            adjustable=adjustable,
            group=group,
            params=params,
            warn=site.warn,
        )
    return SiteModel(
        site=site.name,
        batches=site.batches,
        arrays={"gamma_star": gamma_star, "delta_star": delta_star},
    )


def harmonized_rows(
    data: Table, model: SiteModel, shared: Arrays, schema: Schema
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """``y* = sigma (z - gamma*) / sqrt(delta*) + alpha + w beta``, with the person's own w."""
    estimates = estimates_in(shared)
    pairs = [
        coefficients(estimates, gamma, delta)
        for gamma, delta in zip(model.arrays["gamma_star"], model.arrays["delta_star"], strict=True)
    ]
    return adjusted(
        data,
        design_matrix(data, schema),
        model.batches,
        np.array([scale for scale, _ in pairs]),
        np.array([shift for _, shift in pairs]),
    )


def _evidence(
    site: Site, shared: Arrays, estimates: Estimates
) -> tuple[Float, Float, Float, NDArray[np.bool_]]:
    """n, gamma_hat, delta_hat and scaled, (K, p) each, with the incomplete features filled in."""
    if "complete.n" in site.keep:
        complete = kept(site.keep, "complete")
        features = shared["incomplete"].astype(np.intp)
        observed = kept(site.keep, "observed") if len(features) else None
    else:
        W = design_matrix(site.data, site.schema)
        complete, incomplete = batch_moments(site.data, W, site.batches)
        features = np.flatnonzero(incomplete)
        observed = observed_moments(site.data, W, site.batches, features)
    n, gamma_hat, delta_hat, scaled = standardized(complete, estimates)
    n = np.array(n)
    if observed is not None and len(features):
        some = Estimates(
            alpha=estimates.alpha[features],
            beta=estimates.beta[:, features],
            var_pooled=estimates.var_pooled[features],
        )
        of_these = standardized(observed, some)
        for every, part in zip((n, gamma_hat, delta_hat, scaled), of_these, strict=True):
            every[:, features] = part
    return n, gamma_hat, delta_hat, scaled


def _warn_of(
    site: Site,
    batch: str,
    n: NDArray[np.float64],
    scaled: NDArray[np.bool_],
    adjustable: NDArray[np.bool_],
) -> None:
    features = site.data.features
    if n.max(initial=0) == 1:
        site.warn(
            f"Batch '{batch}' has one person: it is adjusted in location only, and what is "
            "particular to this person counts as the scanner's effect."
        )
        return
    none = [features[j] for j in np.flatnonzero(adjustable & (n == 0))]
    if none:
        site.warn(f"Batch '{batch}' has no value of {listed(none)}: left as they are.")
    constant = [features[j] for j in np.flatnonzero(adjustable & (n > 0) & ~scaled)]
    if constant:
        site.warn(
            f"{listed(constant)}: no variation of its own within batch '{batch}'; adjusted in "
            "location only."
        )

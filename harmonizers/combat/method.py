"""ComBat as a harmonizer: plan, join, site model, apply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.errors import listed
from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._linear.adjust import adjusted, coefficients
from motet.harmonizers._linear.design import design_matrix
from motet.harmonizers._linear.estimate import Estimates
from motet.harmonizers._linear.moments import batch_moments, observed_moments
from motet.harmonizers.combat.effects import batch_effects, standardized
from motet.harmonizers.combat.fit import (
    MOMENTS,
    MOMENTS_OF_INCOMPLETE,
    REFERENCE,
    Fit,
    estimates_in,
    kept,
)
from motet.harmonizers.combat.params import ComBatParams, group_of_features, reference_batch
from motet.phases import Publish, Step, Sum, Who
from motet.releases import Arrays, Size
from motet.schema import Schema
from motet.site import Site


class ComBat:
    """ComBat (Johnson 2007; Fortin 2017, 2018) from one sum over sites."""

    name: ClassVar[str] = "combat"
    params_type: ClassVar[type[Params]] = ComBatParams
    card: ClassVar[Card] = Card(
        title="ComBat",
        summary="Removes location and scale effects of scanners; keeps the covariates' effects.",
        data="table",
        papers=(
            "Johnson, Li, Rabinovic 2007, Biostatistics 8:118, doi:10.1093/biostatistics/kxj037",
            "Fortin et al. 2017, NeuroImage 161:149, doi:10.1016/j.neuroimage.2017.08.047",
            "Fortin et al. 2018, NeuroImage 167:104, doi:10.1016/j.neuroimage.2017.11.024",
        ),
        leaves="one sum over sites: 8 p (q + 3) + 8 q^2 bytes a site, whatever the number of "
        "people; with a reference batch, that batch's intercepts and residual variances",
        limits=(
            "prior: nonparametric takes at most 20,000 features in one group",
            "batch effects that depend on a covariate are not removed",
        ),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """One sum; a second for incomplete features where there are any; the reference batch."""
        group_of_features(params, schema)
        reference = reference_batch(params, schema)
        fit = Fit(params, schema, reference)
        steps: list[Step] = [
            Sum(
                name="moments",
                arrays=MOMENTS,
                at_site=fit.send_moments,
                at_coordinator=fit.estimate,
                sets=(Size(name="incomplete", at_most="p"),),
            ),
            Sum(
                name="moments_of_incomplete",
                when="incomplete",
                arrays=MOMENTS_OF_INCOMPLETE,
                at_site=fit.send_incomplete,
                at_coordinator=fit.estimate_incomplete,
            ),
        ]
        if reference is not None:
            steps.append(
                Publish(
                    name="reference",
                    who=Who(site=reference.site),
                    arrays=REFERENCE,
                    at_site=fit.send_reference,
                    at_coordinator=fit.take_reference,
                )
            )
        return steps

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Nothing leaves an unseen site: its batch effects follow from the shared estimates."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """gamma_star and delta_star, (K, p) each, of the site's batches.

        From the moments that the fit kept; an unseen site or batch computes them here, over the
        people observed for each feature.
        """
        estimates, adjustable = estimates_in(shared), shared["adjustable"].astype(bool)
        n, gamma_hat, delta_hat, scaled = _evidence(site, shared, estimates)
        group = group_of_features(params, site.schema)
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

    def apply(
        self, params: Any, data: Table, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """``y* = sigma (z - gamma*) / sqrt(delta*) + alpha + w beta``, with the person's own w."""
        estimates = estimates_in(shared)
        pairs = [
            coefficients(estimates, gamma, delta)
            for gamma, delta in zip(
                model.arrays["gamma_star"], model.arrays["delta_star"], strict=True
            )
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
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
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
    n: NDArray[Any],
    scaled: NDArray[np.bool_],
    adjustable: NDArray[np.bool_],
) -> None:
    features = site.schema.features
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

"""DeepComBat as a harmonizer: plan, join, site model, apply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.errors import listed
from motet.harmonizer import Card, Findings, Params, SiteModel
from motet.harmonizers._linear.caution import far_from_fit
from motet.harmonizers._linear.design import design_matrix
from motet.harmonizers._linear.fit import (
    MOMENTS,
    MOMENTS_OF_INCOMPLETE,
    Fit,
    bounds_of_moments,
    complete_moments,
    of_reference,
    reference_steps,
)
from motet.harmonizers._linear.model import harmonized_rows, site_model
from motet.harmonizers._linear.options import reference_batch
from motet.harmonizers.deepcombat.coding import Coder, over_latents, over_residuals, under
from motet.harmonizers.deepcombat.gaussian import Gaussian
from motet.harmonizers.deepcombat.params import DeepComBatParams
from motet.harmonizers.deepcombat.scale import SPAN, Scale
from motet.harmonizers.deepcombat.training import train_phase
from motet.phases import Publish, Step, Sum, Who
from motet.releases import Arrays, Size
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site

LATENT = "latent."
"""First part of the names of ComBat's estimates on latents; those on residuals have their own."""


@dataclass(frozen=True)
class Stages:
    """ComBat's fit on latent means, and on what the networks leave.

    Parameters
    ----------
    fit : Fit
    params : DeepComBatParams
    """

    fit: Fit
    params: DeepComBatParams

    def _coder(self, shared: Arrays) -> Coder:
        return Coder(self.params, self.fit.schema, shared)

    def send_latent(self, site: Site, shared: Arrays) -> Arrays:
        """ComBat's moments of latent means."""
        sums = dict(self.fit.send_moments(self.latents_of(site, shared), shared))
        del sums["missing"]  # nobody lacks a latent
        return sums

    def estimate_latent(self, sums: Arrays, shared: Arrays) -> Arrays:
        """ComBat's estimates on latents."""
        none = np.zeros(len(sums["sum_y"]), dtype=np.int32)
        found = self.fit.estimate({**sums, "missing": none}, shared)
        return {f"{LATENT}{name}": array for name, array in found.items()}

    def bounds_of_latent(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """A latent mean is no larger than the weights of its head allow."""
        return bounds_of_moments(size.rows, size.columns, self._coder(shared).latent_bound())

    def send_reference_latent(self, site: Site, shared: Arrays) -> Arrays:
        """The reference batch's intercepts and variances of latents."""
        return self.fit.send_reference(self.latents_of(site, shared), under(shared, LATENT))

    def take_reference_latent(self, published: Arrays, shared: Arrays) -> Arrays:
        """What all sites take from it."""
        found = self.fit.take_reference(published, under(shared, LATENT))
        return {f"{LATENT}{name}": array for name, array in found.items()}

    def send_residual(self, site: Site, shared: Arrays) -> Arrays:
        """ComBat's moments of residuals."""
        return self.fit.send_moments(self.residuals_of(site, shared), shared)

    def bounds_of_residual(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """A residual is no larger than a feature and its reconstruction together."""
        features = size.features + self._coder(shared).reconstruction_bound()
        return bounds_of_moments(size.rows, size.columns, features)

    def send_incomplete(self, site: Site, shared: Arrays) -> Arrays:
        """ComBat's moments of features that lack a value, which the networks never saw."""
        return self.fit.send_incomplete(self.residuals_of(site, shared), shared)

    def send_reference(self, site: Site, shared: Arrays) -> Arrays:
        """The reference batch's intercepts and variances of residuals."""
        return self.fit.send_reference(self.residuals_of(site, shared), shared)

    def latents_of(self, site: Site, shared: Arrays) -> Site:
        """The site over its people's latents."""
        latent = self._coder(shared).coded(site.data).latent
        return site.over(over_latents(site.data, latent), under=LATENT)

    def residuals_of(self, site: Site, shared: Arrays) -> Site:
        """The site over its people's residuals."""
        values = site.data.block(slice(None))
        residual = values - self._coder(shared).coded(site.data).reconstructed
        return site.over(over_residuals(site.data, residual))


class DeepComBat:
    """DeepComBat (Hu et al. 2024), trained by all sites."""

    name: ClassVar[str] = "deepcombat"
    params_type: ClassVar[type[Params]] = DeepComBatParams
    card: ClassVar[Card] = Card(
        title="DeepComBat",
        summary="Removes batch effects that features share, by a conditional variational "
        "autoencoder with ComBat on its latent space and on its residuals.",
        data="table",
        beside_combat=True,
        papers=("Hu et al. 2024, Human Brain Mapping 45:e26708, doi:10.1002/hbm.26708",),
        leaves="two sums of means and spreads; with start: moments (preset small's) products of "
        "features and covariates, which the coordinator alone reads; in training summed gradients, "
        "or changes of the networks; then ComBat's sums over latents and residuals",
        limits=(
            "a decoder that sees covariates can invent their effects: look at the report's rate",
            "preset small is not as published: with start: moments networks begin with the "
            "covariances of features, and latent_scale adjusts batches' spread in latent space by "
            "half; preset paper trains and adjusts as published",
            "features with missing values are harmonized by ComBat alone",
            "fewer than some hundred people teach a network little: compare with ComBat",
        ),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Scales, networks, and ComBat's sums over latents and residuals."""
        reference = reference_batch(params, schema)
        fit = Fit(params, schema, reference)
        stages = Stages(fit, params)
        latent = params.widths(len(schema.features))[-1]
        of_latent: tuple[Step, ...] = ()
        if reference is not None:
            of_latent = (
                Publish(
                    name="reference_latent",
                    who=Who(site=reference.site),
                    arrays=of_reference(latent),
                    at_site=stages.send_reference_latent,
                    at_coordinator=stages.take_reference_latent,
                ),
            )
        residual = Sum(
            name="residuals",
            arrays=MOMENTS,
            at_site=stages.send_residual,
            at_coordinator=fit.estimate,
            bounds=stages.bounds_of_residual,
            sets=(Size(name="incomplete", at_most="p"),),
        )
        incomplete = Sum(
            name="residuals_of_incomplete",
            when="incomplete",
            arrays=MOMENTS_OF_INCOMPLETE,
            at_site=stages.send_incomplete,
            at_coordinator=fit.estimate_incomplete,
            bounds=fit.bounds_of_incomplete,
        )
        return (
            *Scale(schema).steps(),
            *(Gaussian(params, schema).steps() if params.start == "moments" else ()),
            train_phase(params, schema),
            Sum(
                name="latents",
                arrays=complete_moments(latent),
                at_site=stages.send_latent,
                at_coordinator=stages.estimate_latent,
                bounds=stages.bounds_of_latent,
            ),
            *of_latent,
            residual,
            incomplete,
            *(
                replace(step, at_site=stages.send_reference)
                for step in reference_steps(fit, "p")
                if isinstance(step, Publish)
            ),
        )

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Nothing leaves an unseen site: its people count as of no batch in particular."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """ComBat's gamma_star and delta_star of latents and residuals of the site's batches.

        ``latent_scale`` is a power of the latents' delta_star.
        """
        stages = Stages(Fit(params, site.schema, reference_batch(params, site.schema)), params)
        latents = stages.latents_of(site, shared)
        residuals = stages.residuals_of(site, shared)
        none = np.full(latents.data.values.shape[1], -1, dtype=np.intp)
        of_latents = site_model(latents, under(shared, LATENT), params=params, group=none)
        none = np.full(len(site.schema.features), -1, dtype=np.intp)
        of_residuals = site_model(residuals, shared, params=params, group=none)
        return SiteModel(
            site=site.name,
            batches=site.batches,
            arrays={
                **{f"{LATENT}{name}": array for name, array in of_latents.arrays.items()},
                f"{LATENT}delta_star": of_latents.arrays["delta_star"] ** params.latent_scale,
                **of_residuals.arrays,
            },
        )

    def findings(self, params: Any, schema: Schema, shared: Arrays) -> Findings:
        """The networks, and which features they never saw."""
        used, p = shared["used"].astype(bool), len(schema.features)
        *hidden, latent = params.widths(p)
        left = [name for name, seen in zip(schema.features, used, strict=True) if not seen]
        remarks = (
            f"{len(left)} of {p} features were harmonized by ComBat alone, not by the networks: "
            f"values of them are missing, or do not vary ({listed(left, at_most=6)}).",
        )
        return Findings(
            title="Networks",
            facts=(
                ("features they see", f"{int(used.sum())} of {p}"),
                ("hidden layers of the encoder", ", ".join(map(str, hidden))),
                ("latent dimensions", str(latent)),
            ),
            remarks=remarks if left else (),
        )

    def cautions(self, params: Any, data: Table, shared: Arrays, schema: Schema) -> Sequence[str]:
        """Of people whose covariates are far from those that the decoder was trained on."""
        scaled = (design_matrix(data, schema) - shared["low"]) / shared["range"]
        return far_from_fit((scaled - 0.5) * SPAN, schema)

    def apply(
        self, params: Any, data: Table, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Harmonized latents decoded as of the target, and harmonized residuals (Hu 2024, 2.3)."""
        coder = Coder(params, schema, shared)
        coded = coder.coded(data)
        latents = over_latents(data, coded.latent)
        own = SiteModel(site=model.site, batches=model.batches, arrays=under(model.arrays, LATENT))
        style = np.empty_like(coded.latent)
        for rows, block in harmonized_rows(latents, own, under(shared, LATENT), schema):
            style[rows] = block
        restyled = coder.restyled(data, style)
        residual = over_residuals(data, data.block(slice(None)) - coded.reconstructed)
        reference = reference_batch(params, schema)
        here = reference is not None and reference.site == data.site
        for rows, block in harmonized_rows(residual, model, shared, schema):
            found = block + restyled[rows]
            if here and reference is not None:
                # Decoded as itself it is itself, but for the last bit: that stays, too.
                same = data.batch[rows] == reference.name
                found[same] = data.rows_block(rows)[same]
            yield rows, found

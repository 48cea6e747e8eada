"""ComBat as a harmonizer: plan, join, site model, apply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._linear.fit import MOMENTS, MOMENTS_OF_INCOMPLETE, Fit, reference_steps
from motet.harmonizers._linear.model import harmonized_rows, site_model
from motet.harmonizers._linear.options import reference_batch
from motet.harmonizers.combat.params import ComBatParams, group_of_features
from motet.phases import Step, Sum
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
        return (
            Sum(
                name="moments",
                arrays=MOMENTS,
                at_site=fit.send_moments,
                at_coordinator=fit.estimate,
                bounds=fit.bounds,
                sets=(Size(name="incomplete", at_most="p"),),
            ),
            Sum(
                name="moments_of_incomplete",
                when="incomplete",
                arrays=MOMENTS_OF_INCOMPLETE,
                at_site=fit.send_incomplete,
                at_coordinator=fit.estimate_incomplete,
                bounds=fit.bounds_of_incomplete,
            ),
            *reference_steps(fit, "p"),
        )

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Nothing leaves an unseen site: its batch effects follow from the shared estimates."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """gamma_star and delta_star, (K, p) each, of the site's batches."""
        group = group_of_features(params, site.schema)
        return site_model(site, shared, params=params, group=group)

    def apply(
        self, params: Any, data: Table, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """``y* = sigma (z - gamma*) / sqrt(delta*) + alpha + w beta``, with the person's own w."""
        return harmonized_rows(data, model, shared, schema)

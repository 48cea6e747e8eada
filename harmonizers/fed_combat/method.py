"""Fed-ComBat as a harmonizer: plan, join, site model, apply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._linear.model import harmonized_rows
from motet.harmonizers.fed_combat.covariates import Effects
from motet.harmonizers.fed_combat.params import FedComBatParams
from motet.harmonizers.fed_combat.residuals import Residuals
from motet.harmonizers.fed_combat.scale import Scale
from motet.harmonizers.fed_combat.training import train_phase
from motet.phases import Step
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site


class FedComBat:
    """Fed-ComBat (Silva et al. 2023): ``y = phi(x; theta) + alpha + gamma_i + delta_i eps``.

    phi is trained by all sites; intercepts, and ComBat's empirical Bayes, are the sites' own. The
    priors are ComBat's, of a batch across features, where the published code has them of a feature
    across sites: with a line for phi this is ComBat.
    """

    name: ClassVar[str] = "fed_combat"
    params_type: ClassVar[type[Params]] = FedComBatParams
    card: ClassVar[Card] = Card(
        title="Fed-ComBat",
        summary="ComBat that keeps curved effects of covariates, and what they do together: any "
        "differentiable function of them, trained by all sites.",
        data="table",
        beside_combat=True,
        papers=(
            "Silva et al. 2023, Fed-ComBat: a generalized federated framework for batch effect "
            "harmonization in collaborative studies, bioRxiv, doi:10.1101/2023.05.24.542107",
        ),
        leaves="one sum of scales; in training summed gradients, or changes of the function; then "
        "ComBat's sums over what it leaves of the features",
        limits=(
            "a network says nothing of covariates beyond those it saw: its effects level off there",
            "a network can invent effects of covariates from few people: compare with ComBat",
            "a network holds 8 p numbers a person in memory: thousands of features, not voxels",
            "a batch of one person teaches phi nothing",
            "batch effects that depend on a covariate are not removed",
        ),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Scales, phi, and ComBat's sums over residuals; without covariates, those alone."""
        residuals = Residuals(params, schema).steps()
        if not schema.columns:
            return residuals
        return (*Scale(params, schema).steps(), train_phase(params, schema), *residuals)

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Nothing leaves an unseen site: its batch effects follow from the shared model."""
        return ()

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """gamma_star and delta_star, (K, p) each, of the site's batches."""
        return Residuals(params, site.schema).model(site, shared)

    def apply(
        self, params: Any, data: Table, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """``y* = sigma (z - gamma*) / sqrt(delta*) + alpha + phi``, with the person's own phi.

        As ComBat's y* without covariates, and ``(1 - 1 / sqrt(delta*)) phi`` more: where delta*
        is 1 and gamma* is 0 this is y, to the bit.
        """
        phi = Effects(params, schema, shared).of(data)
        batch = np.array([model.batches.index(name) for name in data.batch.tolist()], dtype=np.intp)
        share = 1.0 - 1.0 / np.sqrt(model.arrays["delta_star"])
        for rows, block in harmonized_rows(data, model, shared, Residuals(params, schema).without):
            yield rows, block + share[batch[rows]] * phi[rows]

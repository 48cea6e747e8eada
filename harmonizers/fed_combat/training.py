"""The training of phi as a phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from motet.harmonizers.fed_combat.contrasts import from_means, from_peers
from motet.harmonizers.fed_combat.covariates import GROUP, NAME, standardized, white
from motet.harmonizers.fed_combat.params import FedComBatParams
from motet.releases import Arrays
from motet.schema import Batch, Schema
from motet.site import Site
from motet.training.moment import falling
from motet.training.phase import Group, Train, Update

if TYPE_CHECKING:
    from torch import Tensor

    from motet.harmonizers.fed_combat.networks import Networks
    from motet.training.samples import Samples


@dataclass(frozen=True)
class Training:
    """What the training calls.

    Parameters
    ----------
    params : FedComBatParams
    schema : Schema
    """

    params: FedComBatParams
    schema: Schema

    def build(self, sizes: Mapping[str, int]) -> Networks:
        """The networks with their first weights."""
        from motet.harmonizers.fed_combat.networks import Line, Networks, Perceptron

        q, p, params = sizes["q"], sizes["p"], self.params
        if params.phi == "linear":
            return Networks(Line(q, p))
        return Networks(Perceptron(q, p, params.hidden, params.bias))

    def samples(self, site: Site, shared: Arrays) -> Samples:
        """Every row of the site's table, less its batch's mean or less its peers."""
        from motet.training.samples import Samples, numbered

        table = site.data
        of = {batch: k for k, batch in enumerate(self.schema.batches)}
        batch = np.array([of[Batch(site.name, b)] for b in table.batch.tolist()], dtype=np.intp)
        x, w = standardized(table, shared), white(table, self.schema, shared)
        parts = numbered(table.people, table.batch)
        found = Samples(arrays={}, people=table.people, parts=parts, batch=batch)
        # Who validates is nobody's peer in the training, and in nobody's mean.
        among = 2 * batch + found.held_back(self.params.train.validation, site.seed)
        if self.params.phi == "linear":
            arrays = from_means(x, w, among)
        else:
            arrays = from_peers(x, w, among, found.keys(site.seed))
        return Samples(arrays=arrays, people=table.people, parts=parts, batch=batch)

    def losses(
        self, networks: Any, batch: Mapping[str, Tensor], draws: Any
    ) -> Mapping[str, Tensor]:
        """Half the squared error of every sample."""
        from motet.harmonizers.fed_combat.networks import losses

        return losses(networks, batch, draws)

    def error(self, networks: Any, batch: Mapping[str, Tensor], draws: Any) -> Tensor:
        """The same, for validation."""
        return self.losses(networks, batch, draws)["error"]


def size(params: FedComBatParams, q: int, p: int) -> int:
    """Numbers in phi."""
    if params.phi == "linear":
        return q * p
    sizes = (q, *params.hidden)
    return sum((a + params.bias) * b for a, b in pairwise(sizes)) + sizes[-1] * p


def train_phase(params: FedComBatParams, schema: Schema) -> Train:
    """The phase.

    A line has its mean squared error's second derivative at the identity or, where cells are
    missing, below: gradient descent with rate 1 is Newton's method there, and cannot overshoot.
    """
    training = Training(params, schema)
    adam = {"name": "adam", "lr": params.learning_rate}
    falls = not params.newton and params.train.preset != "paper"
    return Train(
        name=NAME,
        build=training.build,
        samples=training.samples,
        groups=(Group(name=GROUP, size=size(params, len(schema.columns), len(schema.features))),),
        updates=(
            Update(
                name="fit",
                groups=(GROUP,),
                optimizer={"name": "sgd", "lr": 1.0} if params.newton else adam,
                losses=training.losses,
                weights={"error": 1.0},
                rate=falling if falls else None,
            ),
        ),
        options=params.train,
        validate=training.error,
    )

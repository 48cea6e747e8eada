"""The training of DeepComBat's networks as a phase: groups, one update, its schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from motet.harmonizers.deepcombat.coding import NAME, Coder
from motet.harmonizers.deepcombat.gaussian import Gaussian
from motet.harmonizers.deepcombat.params import EPOCHS, DeepComBatParams
from motet.releases import Arrays
from motet.schema import Batch, Schema
from motet.site import Site
from motet.training.moment import Moment, falling
from motet.training.phase import Group, Train, Update

if TYPE_CHECKING:
    from torch import Tensor

    from motet.harmonizers.deepcombat.networks import CVAE
    from motet.training.samples import Samples

WITHOUT, CYCLES, RISE, HOLD = 5.0, 30.0, 5.0, 1.25
"""Epochs of the published schedule: without the term; in cycles that rise and hold; then whole."""


@dataclass(frozen=True)
class Training:
    """What the training calls.

    Parameters
    ----------
    params : DeepComBatParams
    schema : Schema
    """

    params: DeepComBatParams
    schema: Schema

    def build(self, sizes: Mapping[str, int]) -> CVAE:
        """The networks with their first weights."""
        from motet.harmonizers.deepcombat.networks import CVAE

        p, q, K = sizes["p"], sizes["q"], sizes["batches"]
        return CVAE(p, q, K, self.params.widths(p))

    def samples(self, site: Site, shared: Arrays) -> Samples:
        """Every row of the site's table."""
        from motet.training.samples import Samples, numbered

        table = site.data
        of = {batch: k for k, batch in enumerate(self.schema.batches)}
        inputs = Coder(self.params, self.schema, shared).inputs(table)
        return Samples(
            arrays=inputs,
            constants={"used": shared["used"].astype(np.float64)},
            people=table.people,
            parts=numbered(table.people, table.batch),
            batch=np.array([of[Batch(site.name, b)] for b in table.batch.tolist()], dtype=np.intp),
        )

    def losses(
        self, networks: Any, batch: Mapping[str, Tensor], draws: Any
    ) -> Mapping[str, Tensor]:
        """Squared error, and Kullback-Leibler divergence, of every sample."""
        from motet.harmonizers.deepcombat.networks import losses

        return losses(networks, batch, draws)

    def error(self, networks: Any, batch: Mapping[str, Tensor], draws: Any) -> Tensor:
        """Squared error of every sample."""
        from motet.harmonizers.deepcombat.networks import error

        return error(networks, batch, draws)

    def weighing(self, moment: Moment) -> Mapping[str, float]:
        """Weight of the Kullback-Leibler term: none, in cycles, all; by 40ths of the training."""
        epoch = moment.done * EPOCHS
        if epoch < WITHOUT:
            return {"kl": 0.0}
        if epoch >= WITHOUT + CYCLES:
            return {"kl": 1.0}
        return {"kl": min(1.0, (epoch - WITHOUT) % (RISE + HOLD) / RISE)}


def _tower(inputs: int, widths: tuple[int, ...], outputs: int) -> int:
    """Parameters of linear layers with biases: `inputs`, `widths`, then heads of `outputs`."""
    sizes = (inputs, *widths)
    layers = sum((a + 1) * b for a, b in pairwise(sizes))
    return layers + (sizes[-1] + 1) * outputs


def _adam(params: DeepComBatParams) -> Mapping[str, Any]:
    found: dict[str, Any] = {"name": "adam", "lr": params.learning_rate}
    if params.columns_rate is not None:
        columns = ("encoder_batch", "decoder_batch")
        found["lr_of"] = dict.fromkeys(columns, params.columns_rate)
    return found


def train_phase(params: DeepComBatParams, schema: Schema) -> Train:
    """The phase."""
    training = Training(params, schema)
    p, q = len(schema.features), len(schema.columns)
    *hidden, latent = params.widths(p)
    back = hidden[::-1]
    groups = (
        Group(name="encoder", size=_tower(p + q, tuple(hidden), 2 * latent)),
        Group(name="decoder", size=_tower(latent + q, tuple(back), p)),
        Group(name="encoder_batch", size=hidden[0], keeper="owned"),
        Group(name="decoder_batch", size=back[0], keeper="owned"),
    )
    return Train(
        name=NAME,
        build=training.build,
        samples=training.samples,
        groups=groups,
        updates=(
            Update(
                name="autoencoder",
                groups=tuple(group.name for group in groups),
                optimizer=_adam(params),
                losses=training.losses,
                weights={"reconstruction": 1.0, "kl": params.kl},
                weighing=training.weighing,
                rate=falling if params.start == "moments" else None,
            ),
        ),
        options=params.train,
        validate=training.error,
        first=Gaussian(params, schema).first if params.start == "moments" else None,
        dp=True,
    )

"""A first training on people who do not exist: drawn from the pooled moments of features.

What a linear autoencoder could learn is all in the covariance of features and covariates, which is
one sum over sites. Networks that begin with it need few exchanges: what is left is what scanners
and people have of their own. The people are drawn at the coordinator, from sums that it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers.deepcombat.coding import Coder
from motet.harmonizers.deepcombat.params import EPOCHS, DeepComBatParams
from motet.phases import Step, Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site
from motet.training.moment import Moment, falling

if TYPE_CHECKING:
    from motet.training.networks import Networks
    from motet.training.phase import Train

Float = NDArray[np.float64]
SHARED = "covariance"
STEPS, PEOPLE, RATE, KL = 1500, 64, 0.01, 0.1
"""Of the first training: steps, people drawn for each, learning rate, factor of the KL term.

With the whole term a network that is trained to its end reconstructs less than the published one,
whose training stops early; with a tenth it reconstructs as much (measured: docs/decisions/0022)."""


@dataclass(frozen=True)
class Gaussian:
    """The sum, and the first training.

    Parameters
    ----------
    params : DeepComBatParams
    schema : Schema
    """

    params: DeepComBatParams
    schema: Schema

    def steps(self) -> Sequence[Step]:
        """The phase."""
        return (
            Sum(
                name=SHARED,
                arrays=(
                    ArraySpec(
                        name="xx",
                        shape=("p", "p"),
                        meaning="products of standardized features",
                    ),
                    ArraySpec(
                        name="xw",
                        shape=("p", "q"),
                        support="cell",
                        meaning="products of standardized features and covariate columns",
                    ),
                    ArraySpec(
                        name="ww",
                        shape=("q", "q"),
                        support="cell",
                        meaning="products of covariate columns",
                    ),
                ),
                at_site=self.send,
                at_coordinator=self.conclude,
                bounds=self.bounds,
            ),
        )

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Products over the site's people, about the means of all sites."""
        seen = Coder(self.params, self.schema, shared).inputs(site.data)
        x, w = seen["x"], seen["w"] - self._centre(shared)
        return {"xx": x.T @ x, "xw": x.T @ w, "ww": w.T @ w}

    def _centre(self, shared: Arrays) -> Float:
        return np.asarray((shared["w_mean"] - shared["low"]) / shared["range"])

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Covariance of features and covariates, (p + q, p + q)."""
        joint = np.block([[sums["xx"], sums["xw"]], [sums["xw"].T, sums["ww"]]])
        return {SHARED: joint / np.maximum(shared["people"] - 1.0, 1.0)}

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's products exceed."""
        x = 2 * size.features / shared["sd"]
        w = 2 * size.columns / shared["range"] + 1.0
        rows = size.rows
        return {
            "xx": rows * x[:, None] * x,
            "xw": rows * x[:, None] * w,
            "ww": rows * w[:, None] * w,
        }

    def first(self, networks: Networks, train: Train, shared: Arrays, seed: int) -> None:
        """Train `networks`, at the coordinator, on people drawn from the covariance."""
        import torch

        from motet.training.draws import Draws, sample_keys
        from motet.training.optimizer import Optimizer

        p, size = len(shared["mean"]), PEOPLE
        values, vectors = np.linalg.eigh(shared[SHARED])
        root = torch.from_numpy(vectors * np.sqrt(np.maximum(values, 0.0)))
        centre = torch.from_numpy(self._centre(shared))
        used = torch.from_numpy(shared["used"].astype(np.float64)).to(networks.dtype)
        update = replace(train.updates[0], optimizer={"name": "adam", "lr": RATE}, rate=falling)
        optimizer = Optimizer(networks, update)
        names = [f"drawn {i}" for i in range(size)]
        keys = torch.from_numpy(sample_keys(seed, names, np.zeros(size, dtype=np.intp)))
        K = networks.batches
        member = torch.full((size, K), 1.0 / K, dtype=networks.dtype)
        for step in range(STEPS):
            drawn = Draws(keys, step, torch.float64).normal("person", len(values)) @ root.T
            batch = {
                "x": drawn[:, :p].to(networks.dtype) * used,
                "w": (drawn[:, p:] + centre).to(networks.dtype),
                "member": member,
                "used": used,
            }
            moment = Moment(step=step, steps=STEPS, per_epoch=STEPS / EPOCHS)
            factors = {"kl": KL}
            losses = update.losses(networks.module, batch, Draws(keys, step, networks.dtype))
            weights = {n: w * factors.get(n, 1.0) for n, w in update.weights.items()}
            total = torch.stack([weights[n] * loss.mean() for n, loss in losses.items()]).sum()
            optimizer.step(networks.gradients(total, update.groups), moment)
        with torch.no_grad():
            for name in ("encoder_batch", "decoder_batch"):
                networks.parameters[name].zero_()

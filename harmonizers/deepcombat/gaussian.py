"""A first training on people who do not exist: drawn from the summed moments of features.

What a linear autoencoder could learn is all in the covariance of features and covariates, which is
a sum over sites. Networks that begin with it need few exchanges: what is left is what scanners
and people have of their own. The people are drawn at the coordinator, from sums that it has: the
covariance within batches for people, and that between them for as many batches as the study has.
None of these is a batch of the study, and of masked sums none is of a single batch. (Where sums
are not masked, a site with one scanner sends that scanner's.) Sites are told neither covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers.deepcombat.coding import Coder
from motet.harmonizers.deepcombat.params import EPOCHS, DeepComBatParams
from motet.phases import UNTOLD, Step, Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.schema import Schema
from motet.site import Site
from motet.training.moment import Moment, falling

if TYPE_CHECKING:
    from torch import Tensor

    from motet.training.networks import Networks
    from motet.training.phase import Train

Float = NDArray[np.float64]
COVARIANCE = "covariance"
BETWEEN = "covariance_between"
WITHIN = "within_"
STEPS, PEOPLE, RATE, KL = 1500, 64, 0.01, 0.3
"""Of the first training: steps, people drawn for each, learning rate, factor of the KL term.

A tenth of the term reconstructs more of people, and keeps less of their age (measured:
docs/decisions/0022)."""


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
                name=COVARIANCE,
                arrays=(*_products("", ""), *_products(WITHIN, ", centred within batch")),
                at_site=self.send,
                at_coordinator=self.conclude,
                stays_at="coordinator",
                bounds=self.bounds,
            ),
        )

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Products over the site's people, about the means of all sites and of their batches."""
        seen = Coder(self.params, self.schema, shared).inputs(site.data)
        x, w = seen["x"], seen["w"] - self._centre(shared)
        whole = {"xx": x.T @ x, "xw": x.T @ w, "ww": w.T @ w}
        for name in site.data.batches:
            rows = site.data.batch == name
            x[rows] -= x[rows].mean(axis=0)
            w[rows] -= w[rows].mean(axis=0)
        within = {"xx": x.T @ x, "xw": x.T @ w, "ww": w.T @ w}
        return whole | {f"{WITHIN}{name}": array for name, array in within.items()}

    def _centre(self, shared: Arrays) -> Float:
        return np.asarray((shared["w_mean"] - shared["low"]) / shared["range"])

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Covariances of features and covariates, within batches and between, (p + q, p + q)."""
        whole, within = _joint(sums, ""), _joint(sums, WITHIN)
        people = shared["people"]
        return {
            COVARIANCE: within / np.maximum(people - float(len(self.schema.batches)), 1.0),
            BETWEEN: (whole - within) / np.maximum(people, 1.0),
        }

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's products exceed: about a batch's mean they are bounded as about all's."""
        x = 2 * size.features / shared["sd"]
        w = 2 * size.columns / shared["range"] + 1.0
        rows = size.rows
        whole = {
            "xx": rows * x[:, None] * x,
            "xw": rows * x[:, None] * w,
            "ww": rows * w[:, None] * w,
        }
        return whole | {f"{WITHIN}{name}": bound for name, bound in whole.items()}

    def first(self, networks: Networks, train: Train, shared: Arrays, seed: int) -> None:
        """Train `networks`, at the coordinator, on drawn people of drawn batches."""
        import torch

        from motet.harmonizers.deepcombat.networks import losses_apart
        from motet.training.draws import Draws
        from motet.training.optimizer import Optimizer

        p, K = len(shared["mean"]), networks.batches
        within, between = shared[f"{UNTOLD}{COVARIANCE}"], shared[f"{UNTOLD}{BETWEEN}"]
        root = torch.from_numpy(_root(within))
        batches = Draws(_keys("drawn batch", K, seed), 0, torch.float64)
        means = batches.normal("batch", len(root)) @ torch.from_numpy(_root(between)).T
        slopes = torch.from_numpy(_slopes(within, p))
        # What of a batch's mean its people's covariates do not say is the batch's effect.
        effects = means[:, :p] - means[:, p:] @ slopes
        centre = torch.from_numpy(self._centre(shared))
        used = torch.from_numpy(shared["used"].astype(np.float64)).to(networks.dtype)
        update = replace(train.updates[0], optimizer={"name": "adam", "lr": RATE}, rate=falling)
        optimizer = Optimizer(networks, update)
        keys = _keys("drawn", PEOPLE, seed)
        for step in range(STEPS):
            draws = Draws(keys, step, torch.float64)
            of = draws.integers("batch", K)
            drawn = draws.normal("person", len(root)) @ root.T + means[of]
            x = drawn[:, :p]
            batch = {
                "x": x.to(networks.dtype) * used,
                "bare": (x - effects[of]).to(networks.dtype) * used,
                "w": (drawn[:, p:] + centre).to(networks.dtype),
                "member": torch.nn.functional.one_hot(of, K).to(networks.dtype),
                "used": used,
            }
            moment = Moment(step=step, steps=STEPS, per_epoch=STEPS / EPOCHS)
            factors = {"kl": KL}
            losses = losses_apart(networks.module, batch, Draws(keys, step, networks.dtype))
            weights = [update.weights[n] * factors.get(n, 1.0) / PEOPLE for n in losses]
            found = networks.gradients(list(losses.values()), update.groups, weights)
            optimizer.step(found, moment)
        with torch.no_grad():
            # They are those of drawn batches; a batch of the study begins as one without effects.
            for name in ("encoder_batch", "decoder_batch"):
                for leaf in networks.leaves[name]:
                    leaf.zero_()


def _products(prefix: str, centred: str) -> tuple[ArraySpec, ...]:
    return (
        ArraySpec(
            name=f"{prefix}xx",
            shape=("p", "p"),
            meaning=f"products of standardized features{centred}",
        ),
        ArraySpec(
            name=f"{prefix}xw",
            shape=("p", "q"),
            support="cell",
            meaning=f"products of standardized features and covariate columns{centred}",
        ),
        ArraySpec(
            name=f"{prefix}ww",
            shape=("q", "q"),
            support="cell",
            meaning=f"products of covariate columns{centred}",
        ),
    )


def _joint(sums: Arrays, prefix: str) -> Float:
    xx, xw, ww = (sums[f"{prefix}{name}"] for name in ("xx", "xw", "ww"))
    return np.asarray(np.block([[xx, xw], [xw.T, ww]]))


def _root(covariance: Float) -> Float:
    """R with R R' the covariance; what rounding made negative is none."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _slopes(covariance: Float, p: int) -> Float:
    """Of features on covariates within batches, (q, p)."""
    inverse = np.linalg.pinv(covariance[p:, p:], rcond=1e-10, hermitian=True)
    return np.asarray(inverse @ covariance[p:, :p])


def _keys(name: str, size: int, seed: int) -> Tensor:
    import torch

    from motet.training.draws import sample_keys

    names = [f"{name} {i}" for i in range(size)]
    return torch.from_numpy(sample_keys(seed, names, np.zeros(size, dtype=np.intp)))

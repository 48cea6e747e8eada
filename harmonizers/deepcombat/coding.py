"""People as the networks see them, and what the networks make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizers._linear.design import design_matrix
from motet.harmonizers._linear.options import reference_batch
from motet.harmonizers.deepcombat.params import DeepComBatParams
from motet.releases import Arrays
from motet.schema import Batch, Schema

if TYPE_CHECKING:
    from motet.harmonizers.deepcombat.networks import CVAE

Float = NDArray[np.float64]
NAME = "cvae"


@dataclass(frozen=True, kw_only=True)
class Coded:
    """What the networks make of n people.

    Attributes
    ----------
    latent : (n, latent) float64
    reconstructed : (n, p) float64
        In native units; 0 for features that the networks do not see.
    """

    latent: Float
    reconstructed: Float


@dataclass(frozen=True)
class Coder:
    """The trained networks with the scales of features and covariates.

    Parameters
    ----------
    params : DeepComBatParams
    schema : Schema
    shared : mapping of str to ndarray
    """

    params: DeepComBatParams
    schema: Schema
    shared: Arrays

    def inputs(self, table: Table) -> dict[str, Float]:
        """``x`` (n, p), ``w`` (n, q) and ``member`` (n, K) of the people.

        A missing value is the mean, 0; so is a feature that is not complete in the fit. Members of
        a batch that the study does not know belong to all batches alike.
        """
        shared, used = self.shared, self.shared["used"].astype(bool)
        x = np.zeros((len(table), len(used)))
        values = table.block(slice(None))
        x[:, used] = (values[:, used] - shared["mean"][used]) / shared["sd"][used]
        W = design_matrix(table, self.schema)
        return {
            "x": np.nan_to_num(x, nan=0.0, posinf=np.nan, neginf=np.nan),
            "w": (W - shared["low"]) / shared["range"],
            "member": members(table, self.schema),
        }

    @property
    def target(self) -> Float:
        """Weights of the batches to which everybody is brought, (K,)."""
        batches = self.schema.batches
        reference = reference_batch(self.params, self.schema)
        if reference is None:
            return np.full(len(batches), 1.0 / len(batches))
        return np.array([float(batch == reference) for batch in batches])

    def coded(self, table: Table) -> Coded:
        """Latent means, and what is decoded from them with each one's own batch."""
        import torch

        from motet.training.device import steady

        inputs = {k: torch.from_numpy(v) for k, v in self.inputs(table).items()}
        networks = self._networks()
        with torch.no_grad(), steady(1):
            mu, _ = networks.encode(inputs["x"], inputs["w"], inputs["member"])
            found = networks.decode(mu, inputs["w"], inputs["member"])
        return Coded(latent=mu.numpy(), reconstructed=self._native(found.numpy()))

    def restyled(self, table: Table, latent: Float) -> Float:
        """(n, p) in native units: latents decoded as people of the target."""
        import torch

        from motet.training.device import steady

        w = torch.from_numpy(self.inputs(table)["w"])
        member = torch.from_numpy(np.tile(self.target, (len(table), 1)))
        with torch.no_grad(), steady(1):
            found = self._networks().decode(torch.from_numpy(latent), w, member)
        return self._native(found.numpy())

    def _native(self, x: Float) -> Float:
        used = self.shared["used"].astype(bool)
        return np.where(used, x * self.shared["sd"] + np.where(used, self.shared["mean"], 0.0), 0.0)

    def _networks(self) -> CVAE:
        from motet.harmonizers.deepcombat.training import train_phase
        from motet.training.networks import trained

        train = train_phase(self.params, self.schema)
        found: CVAE = trained(train, self.schema.sizes, self.shared)
        return found

    def latent_bound(self) -> Float:
        """Largest absolute value of each latent mean: tanh is at most 1 (heads are linear)."""
        networks = self._networks()
        return _bound(networks.encoder.heads[0])

    def reconstruction_bound(self) -> Float:
        """Largest absolute value of each reconstructed feature, native units, (p,)."""
        standardized = _bound(self._networks().decoder.heads[0])
        used = self.shared["used"].astype(bool)
        return np.where(used, standardized * self.shared["sd"] + np.abs(self.shared["mean"]), 0.0)


def _bound(head: Any) -> Float:
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    return np.asarray(np.abs(weight).sum(axis=1) + np.abs(bias))


def members(table: Table, schema: Schema) -> Float:
    """Weights of the study's batches for every person, (n, K)."""
    of = {batch: k for k, batch in enumerate(schema.batches)}
    K = len(of)
    found = np.full((len(table), K), 1.0 / K)
    for name in table.batches:
        k = of.get(Batch(table.site, name))
        if k is not None:
            found[table.batch == name] = np.eye(K)[k]
    return found


def over_latents(table: Table, latent: Float) -> Table:
    """The same people with latent means for features."""
    names = tuple(f"latent {k}" for k in range(latent.shape[1]))
    units = ("",) * len(names)
    return replace(table, values=latent, features=names, units=units, rows=None)


def over_residuals(table: Table, residual: Float) -> Table:
    """The same people with what the networks leave of their values."""
    return replace(table, values=residual, rows=None)


def under(arrays: Arrays, prefix: str) -> Mapping[str, NDArray[Any]]:
    """Arrays whose names begin with a prefix, without it."""
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}

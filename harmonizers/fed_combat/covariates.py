"""What phi sees of people, and what it makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.harmonizers._linear.design import design_matrix
from motet.harmonizers.fed_combat.params import FedComBatParams
from motet.releases import Arrays
from motet.scale import Magnitudes
from motet.schema import Schema

Float = NDArray[np.float64]
NAME, GROUP = "covariates", "phi"


def white(table: Table, schema: Schema, shared: Arrays) -> Float:
    """Covariates about their mean, with covariance 1 within batches, (n, q)."""
    return np.asarray((design_matrix(table, schema) - shared["w_mean"]) @ shared["w_white"])


def standardized(table: Table, shared: Arrays) -> Float:
    """Features in units of their sd within batches, (n, p); 0 where one has none, NaN if missing.

    Raises
    ------
    DataError
        For an infinite value, where the scale is made.
    """
    x = table.block(slice(None)) / shared["sd"]
    x[:, ~shared["used"].astype(bool)] = 0.0
    return np.asarray(x)


@dataclass(frozen=True)
class Effects:
    """The trained phi, in native units.

    Parameters
    ----------
    params : FedComBatParams
    schema : Schema
    shared : mapping of str to ndarray
    """

    params: FedComBatParams
    schema: Schema
    shared: Arrays

    def of(self, table: Table) -> Float:
        """What phi makes of every person's covariates, (n, p)."""
        if not self.schema.columns:
            return np.zeros((len(table), len(self.schema.features)))
        w = white(table, self.schema, self.shared)
        if self.params.phi == "linear":
            return np.asarray(w @ self._line().T * self.shared["sd"])
        import torch

        from motet.training.device import steady

        with torch.no_grad(), steady(1):
            found = self._phi()(torch.from_numpy(w)).numpy()
        return np.asarray(found * self.shared["sd"])

    def bound(self, size: Magnitudes) -> Float:
        """Largest absolute value of phi for people of this `size`, native units, (p,).

        tanh is at most 1, and a covariate column no further from its mean than both are from 0.
        """
        if not self.schema.columns:
            return np.zeros(len(self.schema.features))
        sd = self.shared["sd"]
        if self.params.phi == "linear":
            native = np.abs(self._line() @ self.shared["w_white"].T)
            return np.asarray(sd * (native @ (size.columns + np.abs(self.shared["w_mean"]))))
        head = self._phi().head.weight.detach().numpy()
        return np.asarray(sd * np.abs(head).sum(axis=1))

    @property
    def _vector(self) -> Float:
        return np.asarray(self.shared[f"{NAME}.{GROUP}"], dtype=np.float64)

    def _line(self) -> Float:
        return self._vector.reshape(len(self.schema.features), len(self.schema.columns))

    def _phi(self) -> Any:
        from motet.harmonizers.fed_combat.training import train_phase
        from motet.training.networks import trained

        train = train_phase(self.params, self.schema)
        return trained(train, self.schema.sizes, self.shared).phi

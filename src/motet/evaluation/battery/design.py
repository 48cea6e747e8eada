"""Batches and covariates of the people judged, as orthogonal bases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from motet.evaluation.basis import basis
from motet.evaluation.battery.sample import Float, Int


@dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """A linear model with batches and covariates for n people.

    Attributes
    ----------
    batch : (n,) int
    W : (n, q) float64
        Covariates; the intercept is added here.
    """

    batch: Int
    W: Float

    @cached_property
    def covariates(self) -> Float:
        """Orthonormal basis of intercept and covariates, (n, rank)."""
        return basis(np.hstack([np.ones((len(self.batch), 1)), self.W]))

    @cached_property
    def groups(self) -> tuple[Int, ...]:
        """Rows of every batch."""
        return tuple(np.flatnonzero(self.batch == k) for k in np.unique(self.batch))

    @cached_property
    def batches(self) -> Float:
        """Orthonormal basis of what batches add to intercept and covariates, (n, df1)."""
        member = members(self.batch)
        rank = basis(np.hstack([member, self.W])).shape[1]
        U, _, _ = np.linalg.svd(self.residuals(member), full_matrices=False)
        return np.ascontiguousarray(U[:, : rank - self.covariates.shape[1]])

    @property
    def df1(self) -> int:
        """Degrees of freedom of the batches after the covariates."""
        return int(self.batches.shape[1])

    @property
    def df2(self) -> int:
        """Degrees of freedom that are left for the error."""
        return len(self.batch) - int(self.covariates.shape[1]) - self.df1

    def residuals(self, Y: Float) -> Float:
        """What intercept and covariates leave of Y (n, p)."""
        rest: Float = Y - Y.mean(axis=0)
        for _ in range(2):  # once more: what rounding of a large location left
            rest = rest - self.covariates @ (self.covariates.T @ rest)
        return rest

    def errors(self, E: Float) -> Float:
        """What batches leave of such residuals, (n, p)."""
        rest: Float = E - self.batches @ (self.batches.T @ E)
        return rest

    def between(self, E: Float) -> tuple[Float, Float]:
        """Sums of squares of such residuals: between batches, and left for the error; (p,)."""
        between = ((self.batches.T @ E) ** 2).sum(axis=0)
        total = (E**2).sum(axis=0)
        # What rounding leaves of a perfect fit must not become an infinite F.
        error = np.maximum(total - between, 1e-12 * total + np.finfo(float).tiny)
        return between, error

    def part(self, rows: Int) -> Design:
        """The model of some of the people."""
        return Design(batch=self.batch[rows], W=self.W[rows])


def members(batch: Int) -> Float:
    """One column a batch: 1 for its rows, 0 for others."""
    member: Float = (batch[:, None] == np.unique(batch)[None, :]).astype(np.float64)
    return member

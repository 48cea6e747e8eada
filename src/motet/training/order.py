"""In which steps samples are due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from motet.training.draws import Draws, sample_keys

if TYPE_CHECKING:
    from motet.training.phase import Train

Int = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Passes:
    """Samples that come once in every pass, at places drawn anew.

    Attributes
    ----------
    keys : (n,) int64
    rate : float
        Passes a step.
    turns : callable, optional
        ``rounds (n,) -> (n,)``, in [0, 1): when in each of these rounds it is their turn. They then
        come one a round, in the order of their draws; otherwise each at a place of its own.
    """

    keys: NDArray[np.int64]
    rate: float
    turns: Callable[[Int], NDArray[np.float64]] | None = None

    def due(self, step: int) -> Int:
        """Samples of a step in the order of their places; one may come twice at a large rate."""
        found = []
        for k in range(int(step * self.rate), int((step + 1) * self.rate) + 1):
            steps, rows = self._pass(k)
            first, last = np.searchsorted(steps, (step, step + 1))
            found.append(rows[first:last])
        return found[0] if len(found) == 1 else np.concatenate(found)

    @cached_property
    def _known(self) -> dict[int, tuple[NDArray[np.float64], Int]]:
        return {}

    def _pass(self, k: int) -> tuple[NDArray[np.float64], Int]:
        """Pass k: the steps, in order, and whose they are."""
        if k not in self._known:
            self._known.pop(k - 3, None)
            u = Draws(torch.from_numpy(self.keys), k, torch.float64).uniform("order", 1)[:, 0]
            order = np.argsort(u.numpy(), kind="stable")
            if self.turns is None:
                places = k + u.numpy()[order]
            else:
                rounds = k * len(order) + np.arange(len(order))
                places = (rounds + self.turns(rounds)) / len(order)
            self._known[k] = np.floor(places / self.rate), order
        return self._known[k]


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """In which steps samples are due: everybody once in every pass, in an order drawn anew.

    Attributes
    ----------
    parts : tuple of (passes, rows)
        Samples of one rate, and which they are.
    """

    parts: tuple[tuple[_Passes, Int], ...]

    @classmethod
    def alike(cls, keys: NDArray[np.int64], *, per_epoch: float) -> Order:
        """Everybody equally often.

        Sample i is due in step ``floor((k + u_ik) per_epoch)`` of pass k, with u uniform of (seed,
        person, part, k). Nobody has to know how many samples other sites have: a step's batch is of
        the asked size on average, and a split of people over sites changes nothing.

        Parameters
        ----------
        keys : (n,) int64
        per_epoch : float
            Steps of a pass.
        """
        return cls(parts=((_Passes(keys=keys, rate=1.0 / per_epoch), np.arange(len(keys))),))

    @classmethod
    def in_turn(
        cls, keys: NDArray[np.int64], batch: NDArray[np.intp], *, size: int, batches: int, seed: int
    ) -> Order:
        """Every scanner equally often, whatever its people: scanners take turns.

        In round j each of the K scanners has one turn, in an order p_j drawn of (seed, j): the j-th
        sample of scanner b, all its passes counted, in the order of the same draws, is due in step
        ``floor((j K + p_j(b) + 1/2) / size)``. ``j K + p_j(b)`` is every whole number once, so that
        every step has `size` samples, of scanners that have any. A scanner is one site's: sites
        need not know of each other's samples.

        Parameters
        ----------
        keys : (n,) int64
        batch : (n,) int
            Scanner of every sample, by its place in the order of labels
            (:func:`motet.schema.by_label`): it is to be the same at whichever site it is.
        size : int
            Samples of a step, over all sites.
        batches : int
            All sites' scanners.
        seed : int
            Of the study.
        """

        def turns_of(scanner: int) -> Callable[[Int], NDArray[np.float64]]:
            def turns(rounds: Int) -> NDArray[np.float64]:
                drawn = Draws(
                    torch.from_numpy(sample_keys(seed, [""] * len(rounds), rounds)),
                    0,
                    torch.float64,
                ).uniform("turns", batches)
                place = drawn.argsort(dim=1).argsort(dim=1)[:, scanner].numpy()
                return np.asarray((place + 0.5) / batches)

            return turns

        parts = []
        for one in np.unique(batch):
            rows = np.flatnonzero(batch == one)
            rate = size / batches / len(rows)
            parts.append((_Passes(keys=keys[rows], rate=rate, turns=turns_of(int(one))), rows))
        return cls(parts=tuple(parts))

    def due(self, step: int) -> Int:
        """Samples of a step."""
        found = [rows[passes.due(step)] for passes, rows in self.parts]
        if len(found) == 1:
            return found[0]
        return np.concatenate([np.zeros(0, dtype=np.intp), *found])


def order_for(
    train: Train,
    keys: NDArray[np.int64],
    batch: NDArray[np.intp],
    *,
    trained: int,
    batches: int,
    seed: int,
) -> Order:
    """The order that a training asks for.

    Parameters
    ----------
    train : Train
    keys : (n,) int64
        Of a site's samples that are trained on.
    batch : (n,) int
        Scanner of each, by its place in the order of labels.
    trained : int
        All sites' samples that are trained on.
    batches : int
        All sites' scanners.
    seed : int
        Of the study.
    """
    if train.strata:
        size = train.options.batch or trained
        return Order.in_turn(keys, batch, size=size, batches=batches, seed=seed)
    return Order.alike(keys, per_epoch=train.per_epoch(trained))

"""What a site trains on, and which samples are due in which step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from motet.training.draws import Draws, sample_keys

Int = NDArray[np.intp]


def numbered(people: NDArray[Any]) -> NDArray[np.intp]:
    """Which of a person's rows each is, (n,): their draws differ."""
    seen: dict[str, int] = {}
    found = np.zeros(len(people), dtype=np.intp)
    for row, person in enumerate(people.tolist()):
        found[row] = seen.get(person, 0)
        seen[person] = seen.get(person, 0) + 1
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Rows of an array of which every sample has some, and sees one, drawn anew in each step.

    Another slice of the same volume, say. Sample i has the rows ``first[i]`` to
    ``first[i] + count[i] - 1``.

    Attributes
    ----------
    array : (m, …) ndarray
        May be memory-mapped.
    first, count : (n,) int
        A sample has one at least.
    """

    array: NDArray[Any]
    first: NDArray[np.intp]
    count: NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Samples of a site's people, in any order.

    Attributes
    ----------
    arrays : mapping of str to (n, …) ndarray
        What losses see of a sample; may be memory-mapped. Floating-point arrays become tensors of
        the training's precision.
    people : (n,) str
        Whose sample it is: who is not to be trained on is none of their samples.
    parts : (n,) int
        Which of the person's samples (slices); 0 where there is one.
    batch : (n,) int
        Number of the scanner in the schema.
    constants : mapping of str to ndarray
        What losses see that is the same for all samples.
    drawn : mapping of str to Drawn
        What losses see beside ``arrays`` that is drawn among several.
    """

    arrays: Mapping[str, NDArray[Any]]
    people: NDArray[Any]
    batch: NDArray[np.intp]
    parts: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    drawn: Mapping[str, Drawn] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.people)

    def keys(self, seed: int) -> NDArray[np.int64]:
        """(n,) int64, of seed, person and part."""
        parts = self.parts if len(self.parts) else np.zeros(len(self), dtype=np.intp)
        return sample_keys(seed, self.people.tolist(), parts)

    def held_back(self, share: float, seed: int) -> NDArray[np.bool_]:
        """(n,) bool: samples of the people who validate, drawn by person."""
        if not share or not len(self):
            return np.zeros(len(self), dtype=bool)
        names, whose = np.unique(self.people.astype(str), return_inverse=True)
        keys = torch.from_numpy(sample_keys(seed, names.tolist(), np.zeros(len(names), np.intp)))
        drawn = Draws(keys, 0, torch.float64).uniform("validates", 1)[:, 0].numpy()
        return np.asarray(drawn < share)[whose]


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """In which steps samples are due: everybody once in every epoch, in an order drawn anew.

    Sample i is due in step ``floor((k + u_ik) / r_i)`` of pass k, with u uniform of (seed, person,
    part, k) and r the share of the samples that a step takes. Nobody has to know how many samples
    other sites have: a step's batch is of the asked size on average, and a split of people over
    sites changes nothing.

    Attributes
    ----------
    keys : (n,) int64
    rates : (n,) float64
        Samples a step for every sample: batch / N; where scanners have equal shares, batch / K / n.
    """

    keys: NDArray[np.int64]
    rates: NDArray[np.float64]

    def due(self, step: int) -> Int:
        """Samples of a step in the order of their draws; one may come twice at a large rate."""
        found = []
        for stratum, (rate, _) in enumerate(self._strata):
            for k in range(int(step * rate), int((step + 1) * rate) + 1):
                steps, rows = self._pass(stratum, k)
                first, last = np.searchsorted(steps, (step, step + 1))
                found.append(rows[first:last])
        return np.concatenate(found) if found else np.zeros(0, dtype=np.intp)

    @cached_property
    def _strata(self) -> list[tuple[float, Int]]:
        return [(float(r), np.flatnonzero(self.rates == r)) for r in np.unique(self.rates)]

    @cached_property
    def _passes(self) -> dict[tuple[int, int], tuple[NDArray[np.float64], Int]]:
        return {}

    def _pass(self, stratum: int, k: int) -> tuple[NDArray[np.float64], Int]:
        """Pass k of the samples of one rate: the steps, in order, and whose they are."""
        if (stratum, k) not in self._passes:
            self._passes.pop((stratum, k - 3), None)
            rate, members = self._strata[stratum]
            keys = torch.from_numpy(self.keys[members])
            u = Draws(keys, k, torch.float64).uniform("order", 1)[:, 0].numpy()
            order = np.argsort(u, kind="stable")
            self._passes[stratum, k] = np.floor((k + u[order]) / rate), members[order]
        return self._passes[stratum, k]


def rates(
    batch: NDArray[np.intp], *, per_epoch: float, size: int, batches: int, strata: str
) -> NDArray[np.float64]:
    """How often every sample comes in a step, (n,).

    Parameters
    ----------
    batch : (n,) int
        Scanner of every sample that is trained on.
    per_epoch : float
        Steps in which everybody comes once.
    size : int
        Samples of a step, over all sites.
    batches : int
        All sites' scanners.
    strata : {"", "batch"}
        ``batch``: scanners have equal shares of a step, whatever their people.
    """
    if not strata:
        return np.full(len(batch), 1.0 / per_epoch)
    counts = np.bincount(batch, minlength=1)
    return np.asarray(size / batches / counts[batch], dtype=np.float64)

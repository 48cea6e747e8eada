"""What a site trains on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from motet.training.draws import Draws, sample_keys

Int = NDArray[np.intp]


def numbered(people: NDArray[Any], batch: NDArray[Any]) -> NDArray[np.intp]:
    """Which of a person's rows of a scanner each is, (n,): their draws differ.

    Rows of another scanner are numbered from 0 again, since they may lie at another site.
    """
    seen: dict[tuple[str, str], int] = {}
    found = np.zeros(len(people), dtype=np.intp)
    for row, whose in enumerate(zip(people.tolist(), batch.tolist(), strict=True)):
        found[row] = seen.get(whose, 0)
        seen[whose] = seen.get(whose, 0) + 1
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

"""Samples as the tensors that losses see, step after step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motet.training.draws import Draws, DrawsAhead
from motet.training.phase import Losses
from motet.training.samples import Samples

Int = NDArray[np.intp]
MOST = 4096
"""The most samples of one pass through the networks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Portion:
    """Samples that pass through the networks together.

    Attributes
    ----------
    seen : mapping of str to Tensor
        What losses see of them: a row a sample, and what is the same for all.
    draws : Draws
        Theirs, of the step.
    """

    seen: Mapping[str, Tensor]
    draws: Draws

    def __len__(self) -> int:
        return len(self.draws)


@dataclass(frozen=True, kw_only=True, eq=False)
class Due:
    """A site's samples of one step.

    Attributes
    ----------
    step : int
    samples : int
    portions : callable
        ``() -> iterable of Portion``: one pass after another, as often as they are asked for.
    """

    step: int
    samples: int
    portions: Callable[[], Iterable[Portion]]


class Feed:
    """Samples as batches of tensors.

    Arrays that fit are kept on the device as they are; larger ones are read when they are due.

    Parameters
    ----------
    samples : Samples
    keys : (n,) int64
    dtype : torch.dtype
    device : torch.device
    compiled : bool
        Whether losses are compiled (``torch.compile``) when they are first computed.
    at_once : int
        Most samples of one pass through the networks: a step of more is made of several.
    """

    HELD = 2**28
    """Bytes of an array that is kept on the device."""
    AHEAD: Mapping[str, int] = {"cpu": 2**22, "cuda": 2**25}
    """Bytes of steps that are gathered together, ahead of their time; while the next are gathered
    the last are still there. A CPU's cache holds them; a GPU waits for the machine at each
    gathering, so that it is worth more memory there, of which every site takes its own."""
    STEPS = 32
    """The most steps that are."""

    def __init__(
        self,
        samples: Samples,
        keys: NDArray[np.int64],
        *,
        dtype: torch.dtype,
        device: torch.device,
        at_once: int = MOST,
        compiled: bool = False,
    ) -> None:
        self._compiled: dict[Losses, Losses] | None = {} if compiled else None
        self._dtype, self.device, self.at_once = dtype, device, at_once
        self._keys = torch.from_numpy(keys).to(device)
        self._drawn = {
            name: tuple(torch.from_numpy(a.astype(np.int64)).to(device) for a in (d.first, d.count))
            for name, d in samples.drawn.items()
        }
        self._held: dict[str, Tensor] = {}
        self._read: dict[str, NDArray[Any]] = {}
        self.constants = {n: self._tensor(np.array(a)) for n, a in samples.constants.items()}
        of_several = {name: drawn.array for name, drawn in samples.drawn.items()}
        held: dict[int, Tensor] = {}
        for name, array in {**samples.arrays, **of_several}.items():
            if array.nbytes <= self.HELD:
                # An array may be there twice: as samples, and as what is drawn beside them.
                if id(array) not in held:
                    held[id(array)] = self._tensor(np.array(array))
                self._held[name] = held[id(array)]
            else:
                self._read[name] = array
        size = torch.finfo(dtype).bits // 8
        arrays = (*samples.arrays.values(), *of_several.values())
        self._each = max(1.0, size * sum(a.size / max(1, len(a)) for a in arrays))

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        found = torch.from_numpy(np.ascontiguousarray(array))
        dtype = self._dtype if found.is_floating_point() else found.dtype
        return found.to(self.device, dtype)

    def batch(self, rows: Int, draws: Draws) -> dict[str, Tensor]:
        """What losses see of some samples, beside :attr:`constants`; `draws` are theirs."""
        index = torch.from_numpy(rows).to(self.device)
        found = {}
        for name in (*self._held, *self._read):
            at = index
            if name in self._drawn:
                first, count = self._drawn[name]
                at = first[index] + draws.integers(f"which {name}", count[index])
            if name in self._held:
                found[name] = self._held[name][at]
            else:
                found[name] = self._tensor(self._read[name][at.cpu().numpy()])
        return found

    def keys(self, rows: Int) -> Tensor:
        """Of which their draws are made, (B,) int64."""
        return self._keys[torch.from_numpy(rows).to(self.device)]

    def draws(self, rows: Int, step: int) -> Draws:
        """Their draws in a step."""
        return Draws(self.keys(rows), step, self._dtype)

    def made(self, losses: Losses) -> Losses:
        """Losses as they are computed: compiled where that is asked, once."""
        if self._compiled is None:
            return losses
        if losses not in self._compiled:
            # The compiler was not there to be told when the training began.
            self._compiled[losses] = torch.compile(
                losses, dynamic=True, options={"deterministic": True}
            )
        return self._compiled[losses]

    def due(self, rows: Int, step: int) -> Due:
        """Samples of one step."""
        return Due(step=step, samples=len(rows), portions=partial(self._portions, rows, step))

    def _portions(self, rows: Int, step: int) -> Iterator[Portion]:
        for start in range(0, len(rows), self.at_once):
            part = rows[start : start + self.at_once]
            draws = self.draws(part, step)
            yield Portion(seen=self.batch(part, draws) | self.constants, draws=draws)

    def ahead(self, rows: Mapping[int, Int]) -> Iterator[Due]:
        """Samples of step after step; those of several small steps are gathered at once.

        Parameters
        ----------
        rows : mapping of int to (B,) int
            Step -> its samples.
        """
        block: dict[int, Int] = {}
        most = self.AHEAD[self.device.type]
        for step, found in rows.items():
            held = sum(map(len, block.values())) + len(found)
            if block and (len(block) == self.STEPS or held * self._each > most):
                yield from self._gathered(block)
                block = {}
            block[step] = found
        yield from self._gathered(block)

    def _gathered(self, block: Mapping[int, Int]) -> Iterator[Due]:
        counts = [len(rows) for rows in block.values()]
        # What is compiled makes its draws itself.
        if len(block) < 2 or max(counts) > self.at_once or self._compiled is not None:
            yield from (self.due(rows, step) for step, rows in block.items())
            return
        rows = np.concatenate(list(block.values()))
        ahead = DrawsAhead(self.keys(rows), list(block), counts, self._dtype)
        seen = self.batch(rows, ahead)
        parts = {name: array.split_with_sizes(counts) for name, array in seen.items()}
        draws = ahead.of_steps()
        for k, step in enumerate(block):
            seen = {name: split[k] for name, split in parts.items()} | self.constants
            portion = [Portion(seen=seen, draws=draws[k])] if counts[k] else []
            yield Due(step=step, samples=counts[k], portions=portion.__iter__)

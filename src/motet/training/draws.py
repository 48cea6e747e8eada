"""Random numbers that are functions of (seed, purpose, person, part, step), made for all at once.

A sample's key is a hash of seed, person and part (slice). Numbers follow from key, purpose and
step by the finalizer of SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195, fig. 15)
over a counter: no state, so that no split of the data over sites or micro-batches changes a draw,
and the same bits on every device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GAMMA, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
ONE = 0x3FF0000000000000
"""The bits of 1.0: a number of 52 bits beside them is the fraction of one from 1 to 2."""


def _signed(value: int) -> int:
    """A 64-bit pattern as torch's int64 writes it."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _shifted(x: Tensor, by: int) -> Tensor:
    """Logical shift to the right; torch's is arithmetic."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _signed(FIRST)
    x = (x ^ _shifted(x, 27)) * _signed(SECOND)
    return x ^ _shifted(x, 31)


def _mixed_here(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The same on the CPU, where NumPy needs fewer passes; `x` itself is mixed."""
    shifted = np.empty_like(x)
    for by, times in ((30, FIRST), (27, SECOND)):
        x ^= np.right_shift(x, np.uint64(by), out=shifted)
        x *= np.uint64(times)
    x ^= np.right_shift(x, np.uint64(31), out=shifted)
    return x


def sample_keys(
    seed: int, people: Sequence[str], parts: Sequence[int] | NDArray[np.integer]
) -> NDArray[np.int64]:
    """A key for every sample, (n,): of the person and of what of the person it is."""
    found = np.empty(len(people), dtype=np.int64)
    for i, (person, part) in enumerate(zip(people, parts, strict=True)):
        digest = hashlib.sha256(f"{seed}\x1f{person}\x1f{int(part)}".encode()).digest()
        found[i] = int.from_bytes(digest[:8], "little", signed=True)
    return found


@lru_cache(maxsize=4096)
def _salt(purpose: str, step: int) -> int:
    digest = hashlib.sha256(f"{purpose}\x1f{step}".encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


@lru_cache(maxsize=64)
def _counter(count: int) -> NDArray[np.uint64]:
    return np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GAMMA)


class Draws:
    """Draws of one step for some samples; each method gives a row a sample.

    Parameters
    ----------
    keys : (B,) int64 tensor
    step : int
    dtype : torch.dtype
        Of what is drawn.
    """

    def __init__(self, keys: Tensor, step: int, dtype: torch.dtype) -> None:
        self._keys, self.step, self._dtype = keys, step, dtype

    def __len__(self) -> int:
        return len(self._keys)

    def _salts(self, purpose: str) -> NDArray[np.int64]:
        """Of the step, (1,), or of every sample's step, (B,)."""
        return np.array([_salt(purpose, self.step)])

    def _uniform64(self, purpose: str, count: int) -> Tensor:
        """(B, count) float64 in the open interval (0, 1)."""
        if self._keys.device.type == "cpu":
            keys = self._keys.numpy().view(np.uint64)
            start = _mixed_here(keys ^ self._salts(purpose).view(np.uint64))
            here = _mixed_here(start[:, None] + _counter(count))
            here >>= np.uint64(12)
            here |= np.uint64(ONE)
            drawn = here.view(np.float64)  # 1 + k 2^-52, and in the end (k + 1/2) 2^-52: all exact
            drawn -= 1.0 - 2.0**-53
            return torch.from_numpy(drawn)
        return self._by_torch(purpose, count)

    def _by_torch(self, purpose: str, count: int) -> Tensor:
        salt = torch.from_numpy(self._salts(purpose)).to(self._keys.device)
        there = torch.arange(1, count + 1, device=self._keys.device, dtype=torch.int64)
        bits = _mixed(_mixed(self._keys ^ salt)[:, None] + there * _signed(GAMMA))
        return (_shifted(bits, 12).to(torch.float64) + 0.5) * 2.0**-52

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """(B, *shape), uniform in (0, 1)."""
        drawn = self._uniform64(purpose, math.prod(shape))
        return drawn.to(self._dtype).reshape(len(self), *shape)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """(B, *shape), standard normal, by the method of Box and Muller."""
        count = math.prod(shape)
        half = -(-count // 2)
        # Uniforms have all their bits; what is made of them needs no more than the result has.
        drawn = self._uniform64(purpose, 2 * half).to(self._dtype)
        first, second = drawn.view(len(self), 2, half).transpose(0, 1).contiguous()
        radius, angle = first.log_().mul_(-2.0).sqrt_(), second.mul_(math.tau)
        pairs = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
        return pairs[:, :count].reshape(len(self), *shape)

    def gumbel(self, purpose: str, *shape: int) -> Tensor:
        """(B, *shape), standard Gumbel: ``-log(-log u)``."""
        drawn = self._uniform64(purpose, math.prod(shape))
        return (-torch.log(-torch.log(drawn))).to(self._dtype).reshape(len(self), *shape)

    def integers(self, purpose: str, below: int | Tensor) -> Tensor:
        """(B,) int64, uniform in 0 … below - 1; of a tensor (B,), each sample's own."""
        found = (self._uniform64(purpose, 1)[:, 0] * below).to(torch.int64)
        return torch.minimum(found, torch.as_tensor(below - 1, device=found.device))


class DrawsAhead(Draws):
    """Draws of several steps, made for all of them when the first is asked for.

    A step of few samples is over before its draws are: a call of NumPy or a kernel takes as long
    for one step's numbers as for those of twenty. The numbers are the same.

    Parameters
    ----------
    keys : (B,) int64 tensor
        Of the samples of all steps, one step after another.
    steps, counts : sequence of int
        The steps, and how many samples each has.
    dtype : torch.dtype
    """

    MOST: Mapping[str, int] = {"cpu": 2**17, "cuda": 2**23}
    """Numbers of one purpose that are made at once, for as many steps as they are enough for. On a
    GPU a kernel of fewer takes as long to start as to run."""

    def __init__(
        self, keys: Tensor, steps: Sequence[int], counts: Sequence[int], dtype: torch.dtype
    ) -> None:
        super().__init__(keys, -1, dtype)
        self._steps, self._counts = list(steps), list(counts)
        self._most, self._each = self.MOST[keys.device.type], len(keys) / max(1, len(steps))
        self._found: dict[tuple[str, str, tuple[int, ...]], tuple[int, Sequence[Tensor]]] = {}

    def _salts(self, purpose: str) -> NDArray[np.int64]:
        return np.repeat([_salt(purpose, step) for step in self._steps], self._counts)

    def of_steps(self) -> list[Draws]:
        """Each step's."""
        parts = self._keys.split_with_sizes(self._counts)
        return [_Step(self, k, part, self._steps[k], self._dtype) for k, part in enumerate(parts)]

    def found(
        self, kind: str, purpose: str, shape: tuple[int, ...], which: int, *, numbers: int
    ) -> Tensor | None:
        """What one step has of it, `numbers` a sample; None where it is too much for several."""
        together = int(self._most / max(1.0, self._each * numbers))
        if together < 2:
            return None
        at, first = (kind, purpose, shape), which - which % together
        if at not in self._found or self._found[at][0] != first:
            some = self._some(slice(first, first + together))
            made: Callable[..., Tensor] = getattr(some, kind)
            counts = self._counts[first : first + together]
            self._found[at] = first, made(purpose, *shape).split_with_sizes(counts)
        return self._found[at][1][which - first]

    def _some(self, which: slice) -> DrawsAhead:
        """The same of some of the steps."""
        steps, counts = self._steps[which], self._counts[which]
        if len(steps) == len(self._steps):
            return self
        begin = sum(self._counts[: which.start])
        return DrawsAhead(self._keys[begin : begin + sum(counts)], steps, counts, self._dtype)


class _Step(Draws):
    """One step of draws that are made ahead."""

    def __init__(
        self, ahead: DrawsAhead, which: int, keys: Tensor, step: int, dtype: torch.dtype
    ) -> None:
        super().__init__(keys, step, dtype)
        self._ahead, self._which = ahead, which

    def _made(self, kind: str, purpose: str, shape: tuple[int, ...], numbers: int) -> Tensor | None:
        return self._ahead.found(kind, purpose, shape, self._which, numbers=numbers)

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        found = self._made("uniform", purpose, shape, math.prod(shape))
        return super().uniform(purpose, *shape) if found is None else found

    def normal(self, purpose: str, *shape: int) -> Tensor:
        found = self._made("normal", purpose, shape, math.prod(shape))
        return super().normal(purpose, *shape) if found is None else found

    def gumbel(self, purpose: str, *shape: int) -> Tensor:
        found = self._made("gumbel", purpose, shape, math.prod(shape))
        return super().gumbel(purpose, *shape) if found is None else found

    def integers(self, purpose: str, below: int | Tensor) -> Tensor:
        if isinstance(below, Tensor):
            return super().integers(purpose, below)
        found = self._made("integers", purpose, (below,), 1)
        return super().integers(purpose, below) if found is None else found

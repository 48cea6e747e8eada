"""Where networks are trained, and how that stays the same from run to run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import deterministic

from motet.errors import TrainingError
from motet.training.memory import keep_what_is_freed

WARN = 1
"""torch's mode of deterministic kernels, and a warning where there is none."""
SETTINGS: Any = deterministic
"""torch's module of settings, whose switches its types do not name."""


def device_named(name: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` is CUDA where it is there.

    Raises
    ------
    TrainingError
        When CUDA is asked for and is not there.
    """
    there = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if there else "cpu"
    if name.startswith("cuda") and not there:
        raise TrainingError(
            "CUDA is asked for, and this machine has none that torch can use.",
            do="Install torch for CUDA and look at 'nvidia-smi', or ask for cpu or auto: --device, "
            "or device: in a site's site.yaml.",
        )
    return name


@contextmanager
def steady(threads: int) -> Iterator[None]:
    """The same arithmetic whatever the machine: its number of threads, deterministic kernels.

    These are settings of the process: the first of several threads sets them, and the last one
    that leaves puts them back.
    """
    keep_what_is_freed()
    _ENTERED.enter(threads)
    try:
        yield
    finally:
        _ENTERED.leave()


class _Entered:
    """How many threads are within, and what was set before the first came."""

    def __init__(self) -> None:
        self._lock, self._within = threading.Lock(), 0
        self._before: tuple[int, int, bool, bool] = (1, 0, True, True)

    def enter(self, threads: int) -> None:
        with self._lock:
            if not self._within:
                self._before = (
                    torch.get_num_threads(),
                    torch.get_deterministic_debug_mode(),
                    SETTINGS.fill_uninitialized_memory,
                    torch.backends.cudnn.allow_tf32,
                )
            self._within += 1
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            _choose_kernels(WARN)
            # Nothing reads memory before it is written; filling it costs as much as writing it.
            SETTINGS.fill_uninitialized_memory = False
            # Float32 is float32: with 10 bits of a convolution's inputs exact is not pooled.
            torch.backends.cudnn.allow_tf32 = False

    def leave(self) -> None:
        with self._lock:
            self._within -= 1
            if self._within:
                return
            threads, kernels, filled, tf32 = self._before
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            _choose_kernels(kernels)
            SETTINGS.fill_uninitialized_memory = filled
            torch.backends.cudnn.allow_tf32 = tf32


def _choose_kernels(mode: int) -> None:
    """As ``torch.use_deterministic_algorithms``, which imports torch's compiler to tell it.

    That takes as long as to import torch. Here the compiler is told where it is there; what is
    compiled later is told then (:meth:`Feed.made`).
    """
    torch.set_deterministic_debug_mode(mode)
    compiler: Any = sys.modules.get("torch._inductor.config")
    if compiler is not None:
        compiler.deterministic = mode > 0


_ENTERED = _Entered()

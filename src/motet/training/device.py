"""Where networks are trained, and how that stays the same from run to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import deterministic

from motet.errors import TrainingError

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
            do="Install torch for CUDA and look at 'nvidia-smi', or set device: cpu (or auto).",
        )
    return name


@contextmanager
def steady(threads: int) -> Iterator[None]:
    """The same arithmetic whatever the machine: its number of threads, deterministic kernels."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = SETTINGS.fill_uninitialized_memory
    if before[0] != threads:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing reads memory before it is written; filling it costs as much as writing it.
    SETTINGS.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[1], warn_only=True)
        SETTINGS.fill_uninitialized_memory = filled
        if before[0] != threads:
            torch.set_num_threads(before[0])

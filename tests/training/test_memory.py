"""What a step frees, the next one has again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource
from contextlib import nullcontext
from motet.training.device import steady
import torch

def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    kept = [torch.ones(1_000_000) for _ in range(64)]
    while kept:
        kept.pop(0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with {within}:
    print(sum([step() for _ in range(4)][1:]))
"""


def _pages(within: str) -> int:
    """Pages that the system clears in three steps of 256 MB, after a first one."""
    script = STEPS.format(within=within)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")
def test_what_a_step_frees_is_there_for_the_next() -> None:
    """Catches steps that ask the system for their memory anew, page by page."""
    assert _pages("steady(1)") < 0.25 * _pages("nullcontext()")

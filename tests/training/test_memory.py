"""What a step frees, the next one has again."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from motet.training import at_site
from motet.training.at_site import train_at_site
from motet.training.coordinator import Trainer
from training.toy import BATCH, SHARED, options, sites_of, toy

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


def test_a_loss_does_not_hold_what_it_is_a_part_of() -> None:
    """Catches images of all steps between two exchanges that stay for one column of numbers."""
    kept: list[torch.Tensor] = []

    def watched(parts: list[torch.Tensor]) -> float:
        kept.extend(parts)
        return 0.0

    def columns(networks: Any, batch: Any, draws: Any) -> Any:
        found = first.losses(networks, batch, draws)
        return {name: loss[:, None].repeat(1, 50)[:, 0] for name, loss in found.items()}

    train = toy(options())
    first = train.update(train.turn(0).update)
    others = tuple(update for update in train.updates if update is not first)
    train = replace(train, updates=(*others, replace(first, losses=columns)))
    site = sites_of((0,) * 5)["site 0"]
    told = Trainer(train, sizes={"batches": 5}, seed=3, samples=len(BATCH)).told(train.turn(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at_site, "total_of", watched)
        train_at_site(train, train.turn(0), site, {**SHARED, **told})  # type: ignore[arg-type]
    assert kept
    assert all(part.untyped_storage().nbytes() == part.nbytes for part in kept)

"""The arithmetic of a training is the same whatever the machine has set."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch

import motet.training.at_site as at_site
from motet.strategies.fedavg import fedavg
from motet.strategies.in_place import InPlace
from motet.training.device import steady
from training.toy import SHARED, options, sites_of, toy


def test_settings_of_the_process_are_put_back() -> None:
    """Catches threads that nobody sets, a trainer that leaves the process or torch's compiler with
    its own, and the first of two that ends and takes the other's away."""
    import torch._inductor.config as compiler

    before = torch.get_num_threads(), torch.get_deterministic_debug_mode(), compiler.deterministic
    torch.set_deterministic_debug_mode("error")
    try:
        with steady(3):
            with steady(3):
                assert torch.get_num_threads() == 3
            assert torch.get_num_threads() == 3
            assert torch.is_deterministic_algorithms_warn_only_enabled()
            assert compiler.deterministic
        assert torch.get_deterministic_debug_mode() == 2
    finally:
        torch.use_deterministic_algorithms(bool(before[1]), warn_only=before[1] == 1)
    with steady(3):
        torch.compile(torch.sin, backend="eager")(torch.zeros(1))
    after = torch.get_num_threads(), torch.get_deterministic_debug_mode(), compiler.deterministic
    assert after == before


def test_sites_train_with_the_threads_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an option that is part of the plan and that nothing reads."""
    seen: list[int] = []

    def noted(threads: int) -> AbstractContextManager[None]:
        seen.append(threads)
        return steady(threads)

    monkeypatch.setattr(at_site, "steady", noted)
    train = toy(options(mode="local", steps=2, local_steps=1, threads=2))
    ask: Any = InPlace(sites=sites_of((0, 0, 1, 1, 1)), sizes={"batches": 5}, seed=3)  # type: ignore[arg-type]
    fedavg(train, ask, SHARED)
    assert seen == [2] * 4

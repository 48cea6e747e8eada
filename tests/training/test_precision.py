"""Mixed precision and compiled losses: asked for in the study, done by the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import motet.training.workshop as at_hand
from motet.strategies.exact import exact
from motet.strategies.fedavg import fedavg
from motet.strategies.in_place import InPlace
from motet.training.phase import Train
from training.toy import SHARED, options, sites_of, toy

SIZES = {"batches": 5}
WHERE = (0, 0, 1, 2, 2)


def watched(train: Train, seen: list[bool]) -> Train:
    """The same training, noting at every loss whether torch chooses precisions."""

    def noting(losses: Any) -> Any:
        def noted(networks: Any, batch: Mapping[str, Any], draws: Any) -> Mapping[str, Any]:
            seen.append(torch.is_autocast_enabled("cpu"))
            return losses(networks, batch, draws)  # type: ignore[no-any-return]

        return noted

    return replace(train, updates=tuple(replace(u, losses=noting(u.losses)) for u in train.updates))


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("mode", ["exact", "local"])
def test_losses_are_computed_in_the_precision_that_is_asked_for(mode: str, precision: str) -> None:
    """Catches 'bfloat16' that is float32, in either mode, and parameters that it rounds."""
    seen: list[bool] = []
    how = {"mode": mode, "steps": 4, "local_steps": 2, "transfer": "float32"}
    train = watched(toy(options(**how, precision=precision)), seen)
    ask: Any = InPlace(sites=sites_of(WHERE), sizes=SIZES, seed=3)  # type: ignore[arg-type]
    found = (exact if mode == "exact" else fedavg)(train, ask, SHARED)
    assert set(seen) == {precision == "bfloat16"}
    weights = found["toy.encoder"].astype(np.float32)
    assert np.isfinite(weights).all()
    rounded = torch.from_numpy(weights).to(torch.bfloat16).to(torch.float32).numpy()
    assert (weights != rounded).mean() > 0.5


@pytest.mark.parametrize(
    ("asked", "device", "compiled"),
    [(True, "cuda", True), (True, "cpu", False), (False, "cuda", False)],
)
def test_losses_are_compiled_on_a_gpu_where_that_is_asked(
    asked: bool, device: str, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an option that nothing reads, and a CPU that waits for a compiler."""

    class Found(Exception):
        pass

    def on_device(*given: Any, **named: Any) -> Any:
        networks = build(*given, **named)
        networks.device = torch.device(device)
        return networks

    def feed(*_: Any, **named: Any) -> Any:
        assert named["compiled"] == compiled
        raise Found

    build = at_hand.build
    monkeypatch.setattr(at_hand, "build", on_device)
    monkeypatch.setattr(at_hand, "Feed", feed)
    site: Any = sites_of((0,) * 5)["site 0"]
    with pytest.raises(Found):
        at_hand.workshop(toy(options(compile=asked)), site, SHARED)

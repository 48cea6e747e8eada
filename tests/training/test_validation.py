"""What a validation judges: the networks that would be given out, and one callable for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from motet.strategies import exact, fedavg
from motet.training.at_site import train_at_site
from motet.training.coordinator import Trainer
from motet.training.draws import Draws
from motet.training.gradients import Feed
from motet.training.networks import build
from training.toy import BATCH, SHARED, Fit, of_rows, options, sites_of, toy

SIZES = {"batches": 5}
SHARE = 0.3


def loss_of(train: Any, model: dict[str, np.ndarray]) -> float:
    """Of everybody who validates, in one place."""
    networks = build(train, SIZES, seed=3)
    for group in train.groups:
        networks.load(group.name, model[f"toy.{group.name}"])
    samples = of_rows(SHARED["x"], np.arange(len(BATCH)))
    rows = np.flatnonzero(samples.held_back(SHARE, 3))
    batch = {"x": torch.from_numpy(SHARED["x"][rows]), "batch": torch.from_numpy(BATCH[rows])}
    draws = Draws(torch.from_numpy(samples.keys(3)[rows]), -1, torch.float64)
    with torch.no_grad():
        return float(Fit().error(networks.module, batch, draws).sum())


@pytest.mark.parametrize(
    ("mode", "every", "conclude"),
    [("exact", 0, exact.step), ("local", 0, fedavg.average), ("local", 2, fedavg.average)],
)
def test_the_networks_that_would_be_given_out_are_judged(
    mode: str, every: int, conclude: Any
) -> None:
    """Catches a judgement of the plain networks where running means are given out, or of a
    site's own critic between its exchanges; and steps that go on from what was judged."""
    how = {"validation": SHARE, "validate_every": 2, "mode": mode, "local_steps": 4, "steps": 8}
    train = toy(options(**how), every=every)
    trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
    sites, unjudged = sites_of((0, 0, 1, 2, 2)), sites_of((0, 0, 1, 2, 2))
    plain = []
    for turn in trainer.turns(0):
        told = {**SHARED, **trainer.told(turn)}
        sent = [train_at_site(train, turn, site, told) for site in sites.values()]  # type: ignore[arg-type]
        if turn.validates:
            found = sum(float(one["validation"]) for one in sent)
            assert found == pytest.approx(loss_of(train, trainer.model()), rel=1e-12)
            plain.append(found / loss_of(train, told))
        if turn.after == turn.first:
            continue
        for one, site in zip(sent, unjudged.values(), strict=True):
            alone = train_at_site(train, replace(turn, validates=False), site, told)  # type: ignore[arg-type]
            assert all((one[name] == array).all() for name, array in alone.items())
        conclude(trainer, turn, {name: sum(one[name] for one in sent) for name in sent[0]})
    assert len(plain) >= 3
    assert max(abs(ratio - 1) for ratio in plain) > 1e-6


def test_losses_are_compiled_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches two losses of one name, of which the second is computed as the first, a validation
    that is compiled anew every time, and a compiler that chooses kernels by their speed."""
    compiled = []

    def compile_(losses: Any, **options: Any) -> Any:
        assert options["options"] == {"deterministic": True}
        compiled.append(losses)
        return losses

    monkeypatch.setattr(torch, "compile", compile_)
    first, second = (_named(k) for k in (1.0, 2.0))
    assert first.__qualname__ == second.__qualname__
    train = toy(options(validation=SHARE))
    samples = of_rows(SHARED["x"], np.arange(len(BATCH)))
    feed = Feed(
        samples,
        samples.keys(3),
        dtype=torch.float64,
        device=torch.device("cpu"),
        compiled=True,
    )
    asked = [first, second, train.judged, train.updates[0].losses]
    assert [feed.made(losses) for losses in asked] == asked
    assert feed.made(second)(None, {}, None) == {"loss": 2.0}
    assert [feed.made(one) for one in (first, train.judged, train.updates[0].losses)]
    assert compiled == asked


def _named(value: float) -> Any:
    def losses(networks: Any, batch: Any, draws: Any) -> Any:
        return {"loss": value}

    return losses

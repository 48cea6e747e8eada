"""What is made of sites' networks beside their mean: fedprox and fedadam."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from motet.strategies.fedadam import fedadam
from motet.strategies.fedavg import fedavg, mean_change
from motet.strategies.fedprox import fedprox
from motet.strategies.in_place import InPlace
from motet.training.at_site import train_at_site
from motet.training.coordinator import Trainer
from motet.training.networks import build
from motet.training.proximal import pull, shared_point
from training.toy import BATCH, SHARED, options, sites_of, toy

SIZES = {"batches": 5}
WHERE = (0, 0, 1, 2, 2)


def local(**given: Any) -> Any:
    return options(mode="local", **{"steps": 8, "local_steps": 4, **given})


def ask() -> InPlace:
    return InPlace(sites=sites_of(WHERE), sizes=SIZES, seed=3)  # type: ignore[arg-type]


def test_a_proximal_term_of_nothing_is_fedavg_and_a_large_one_holds() -> None:
    """Catches a term that nothing adds, and one that is there unasked."""
    train = toy(local())
    moved = {}
    first = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH)).model()["toy.critic"]
    for mu in (0.0, 3.0, 1000.0):
        near = replace(train, options=local(server="fedprox", proximal=mu))
        moved[mu] = fedprox(near, ask(), SHARED)["toy.critic"]
    plain = fedavg(train, ask(), SHARED)["toy.critic"]
    assert (moved[0.0] == plain).all()
    distance = {mu: np.abs(array - first).max() for mu, array in moved.items()}
    assert distance[1000.0] < distance[0.0]


def test_the_proximal_term_pulls_to_what_all_sites_know() -> None:
    """Catches a pull towards zero, or to where a site was before."""
    train = toy(local(server="fedprox"))
    told = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH)).told(train.turn(0))
    networks = build(train, SIZES, seed=3, device="cpu")
    base = shared_point(train, networks, told)
    with torch.no_grad():
        for leaf in networks.leaves["critic"]:
            leaf += 0.25
    gradients = {"critic": [torch.ones_like(leaf) for leaf in networks.leaves["critic"]]}
    pull(networks, gradients, base, 3.0)
    for gradient in gradients["critic"]:
        torch.testing.assert_close(gradient, torch.full_like(gradient, 1.0 + 3.0 * 0.25))


def test_fedadam_takes_adams_first_step_along_the_mean_change() -> None:
    """Reddi et al. 2021, algorithm 2, with corrections for moments that begin at zero: of the mean
    change d it is ``rate d / (|d| + 0.001)``. Catches a step the other way, and one of the sites'
    rate."""
    train = toy(local(steps=4, server="fedadam", server_rate=0.01))
    trainer, turn = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH)), train.turn(0)
    told = {**SHARED, **trainer.told(turn)}
    sites = sites_of(WHERE).values()
    sent = [train_at_site(train, turn, site, told) for site in sites]  # type: ignore[arg-type]
    sums = {name: sum(one[name] for one in sent) for name in sent[0]}
    change = mean_change(train, turn, sums)["critic"]
    moved = fedadam(train, ask(), SHARED)["toy.critic"] - told["toy.critic"]
    expected = 0.01 * change / (np.abs(change) + 1e-3)
    # The last three are of the spectral norm.
    assert np.abs(change[:-3]).max() > 1e-3
    np.testing.assert_allclose(moved[:-3], expected[:-3], rtol=1e-6, atol=1e-12)

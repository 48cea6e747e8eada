"""The optimizer beside torch's own, and what travels of it."""

from __future__ import annotations

import re
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from motet.errors import PlanError
from motet.strategies.fedadam import fedadam
from motet.strategies.in_place import InPlace
from motet.training.coordinator import Trainer
from motet.training.exchange import as_bfloat16, as_float, exchange
from motet.training.moment import Moment
from motet.training.networks import Networks, build
from motet.training.optimizer import DEFAULTS, Optimizer
from motet.training.phase import Group, Update
from training.toy import BATCH, SHARED, options, sites_of, toy

NOW = Moment(step=0, steps=9, per_epoch=3.0)


class Crosswise(nn.Module):
    """Gradients that are transposed, and expanded from one number."""

    def __init__(self) -> None:
        super().__init__()
        self.turned = nn.Parameter(torch.arange(12.0, dtype=torch.float64).reshape(3, 4) / 10)
        self.summed = nn.Parameter(torch.arange(5.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bh,oh->bo", x, self.turned).square().sum() + 3.0 * self.summed.sum()


def of_one(module: nn.Module) -> Networks:
    parent = nn.Module()
    parent.net = module
    count = sum(p.numel() for p in module.parameters())
    groups = [Group(name="net", size=count)]
    where = {"dtype": torch.float64, "device": torch.device("cpu")}
    return Networks(parent, groups, batches=1, **where)


def update(**optimizer: Any) -> Update:
    return Update(
        name="u",
        groups=("net",),
        optimizer=optimizer,
        losses=lambda n, b, d: {},
        weights={"a": 1.0},
    )


@pytest.mark.parametrize(
    ("given", "torchs"),
    [
        ({"name": "adam", "lr": 0.1, "betas": (0.5, 0.9)}, torch.optim.Adam),
        (
            {"name": "adam", "lr": 0.1, "weight_decay": 0.2, "eps": 1e-3, "maximize": True},
            torch.optim.Adam,
        ),
        ({"name": "adamw", "lr": 0.1, "weight_decay": 0.2}, torch.optim.AdamW),
        ({"name": "sgd", "lr": 0.01}, torch.optim.SGD),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_steps_are_torchs_whatever_a_gradients_strides(given: dict[str, Any], torchs: Any) -> None:
    """Catches a kernel that reads a transposed gradient as it lies in memory, or beyond an expanded
    one, and an argument that is not handed on."""
    mine, theirs = Crosswise(), Crosswise()
    networks = of_one(mine)
    optimizer = Optimizer(networks, update(**given))
    other = torchs(theirs.parameters(), **{k: v for k, v in given.items() if k != "name"})
    rng = torch.Generator().manual_seed(0)
    for _ in range(4):
        x = torch.randn(6, 4, generator=rng, dtype=torch.float64)
        optimizer.step(networks.gradients([mine(x)], ("net",)), NOW)
        other.zero_grad()
        theirs(x).backward()
        other.step()
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-13)


def test_moments_are_corrected_by_every_groups_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches one count for groups that were moved more or less often, which one kernel moves, and
    a count that is wrong where the next ones are made (here 4 at once)."""
    monkeypatch.setattr("motet.training.optimizer.COUNTS", 4)
    both = nn.ModuleDict({"often": nn.Linear(3, 2), "seldom": nn.Linear(2, 1)}).double()
    theirs = deepcopy(both)
    groups = [Group(name="often", size=8), Group(name="seldom", size=3)]
    where = {"dtype": torch.float64, "device": torch.device("cpu")}
    networks = Networks(both, groups, batches=1, **where)
    update_of_both = replace(update(name="adam", lr=0.1), groups=("often", "seldom"))
    optimizer = Optimizer(networks, update_of_both)
    others = {name: torch.optim.Adam(part.parameters(), lr=0.1) for name, part in theirs.items()}
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def loss(of: nn.ModuleDict) -> Tensor:
        return torch.tanh(of["seldom"](torch.tanh(of["often"](x)))).square().sum()

    for step in range(11):
        moved = ("often", "seldom") if step % 3 == 0 else ("often",)
        found = networks.gradients([loss(both)], ("often", "seldom"))
        optimizer.step({name: found[name] for name in moved}, NOW)
        theirs.zero_grad()
        loss(theirs).backward()
        for name in moved:
            others[name].step()
    assert optimizer.ran == {"often": 11, "seldom": 4}
    for a, b in zip(both.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-13)


def test_what_is_told_of_moments_is_a_copy() -> None:
    """Catches moments that are handed out as they lie: what leaves is changed in place."""
    train = toy(options(mode="local"))
    networks = build(train, {"batches": len(BATCH)}, seed=3)
    optimizer = Optimizer(networks, train.updates[0])
    ones = {n: [torch.ones_like(leaf) for leaf in networks.leaves[n]] for n in optimizer.ran}
    optimizer.step(ones, NOW)
    before = optimizer.moments()
    assert before
    for told in optimizer.tensors().values():
        told.fill_(9.0)
    for name, array in optimizer.moments().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_a_group_of_buffers_alone_is_moved_by_nothing() -> None:
    """Catches a kernel that is called with no tensors, and an update that moves nothing at all."""
    both = nn.ModuleDict({"net": nn.Linear(2, 1), "fixed": nn.BatchNorm1d(2, affine=False)})
    size = sum(b.numel() for b in both["fixed"].buffers())
    groups = [Group(name="net", size=3), Group(name="fixed", size=size)]
    where = {"dtype": torch.float64, "device": torch.device("cpu")}
    networks = Networks(both, groups, batches=1, **where)
    asked = update(name="adam", lr=0.1, lr_of={"fixed": 0.2})
    optimizer = Optimizer(networks, replace(asked, groups=("net", "fixed")))
    total = both["net"](torch.ones(1, 2, dtype=torch.float64)).sum()
    before = networks.vector("net")
    optimizer.step(networks.gradients([total], ("net", "fixed")), NOW)
    assert not np.array_equal(networks.vector("net"), before)
    assert optimizer.ran == {"net": 1, "fixed": 1}
    with pytest.raises(PlanError, match="no parameter to be moved"):
        Optimizer(networks, replace(asked, groups=("fixed",)))


@pytest.mark.parametrize(
    ("kind", "torchs"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
)
def test_defaults_are_torchs(kind: str, torchs: Any) -> None:
    """Catches another torch, whose default is another, or which knows the argument no more."""
    defaults = torchs([nn.Parameter(torch.zeros(1))], lr=0.1).defaults
    assert DEFAULTS[kind] == {name: defaults[name] for name in DEFAULTS[kind]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "lion"}, "There is no optimizer 'lion'; known: adam, adamw, sgd"),
        ({"name": "adam", "amsgrad": True}, "not exchanged"),
        ({"name": "sgd", "momentum": 0.9}, "not exchanged"),
        ({"name": "sgd", "betas": (0.9, 0.99)}, "'sgd' has no 'betas' here; it has: weight_decay"),
        ({"name": "adam", "lr": -1.0}, "'lr' of the optimizer 'adam' is -1.0"),
        ({"name": "adam", "eps": float("nan")}, "'eps' of the optimizer 'adam' is nan"),
        ({"name": "adamw", "weight_decay": -0.1}, "'weight_decay'"),
        ({"name": "adam", "lr": float("inf")}, "'lr' of the optimizer 'adam' is inf"),
        ({"name": "adam", "betas": (0.9, 1.0)}, "'betas'"),
        ({"name": "adam", "betas": (0.9,)}, "'betas'"),
    ],
    ids=str,
)
def test_what_is_no_optimizer_is_refused(given: dict[str, Any], said: str) -> None:
    """Catches an argument that is taken and not read, and moments that run away at once."""
    with pytest.raises(PlanError, match=re.escape(said)):
        Optimizer(of_one(Crosswise()), update(**{"lr": 0.1, **given}))


CHILD = """
import sys

sys.path.insert(0, "tests")
from conformance.cases import case
from conformance.federation import Federation

Federation(case("deepcombat", n=(9, 12), p=4, covariates=("age",))).run()
print("torch" in sys.modules, "torch._dynamo" in sys.modules)
"""


def test_a_training_does_not_wait_for_torchs_compiler() -> None:
    """Catches what imports it, as making one of torch's optimizers does: it takes as long as torch
    itself, in every process that trains without noise."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "False"]


def test_a_rate_of_an_unknown_group_is_refused() -> None:
    with pytest.raises(PlanError, match="does not move"):
        Optimizer(of_one(Crosswise()), update(name="adam", lr=0.1, lr_of={"nett": 1.0}))


def test_fedadam_goes_on_after_a_stop_with_groups_of_their_own_intervals() -> None:
    """Catches one count of steps for groups that were exchanged more or less often: the
    coordinator's Adam would correct the beginning of moments that are none."""
    train = toy(
        options(mode="local", server="fedadam", steps=16, local_steps=8, server_rate=0.01), every=2
    )
    sites = {"sizes": {"batches": 5}, "seed": 3}
    whole = fedadam(train, InPlace(sites=sites_of((0, 0, 1, 1, 2)), **sites), SHARED)  # type: ignore[arg-type]

    class Stopped(Exception):
        pass

    kept: dict[str, Any] = {}
    here = sites_of((0, 0, 1, 1, 2))

    class Once(InPlace):
        def keep(self, turn: Any, state: Any, row: Any, /) -> None:
            if turn.number == 4:
                kept.update({name: np.array(array) for name, array in state().items()})
                raise Stopped

    with pytest.raises(Stopped):
        fedadam(train, Once(sites=here, **sites), SHARED)  # type: ignore[arg-type]
    again = fedadam(train, InPlace(sites=here, kept=kept, **sites), SHARED)  # type: ignore[arg-type]
    for name, array in whole.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)


def test_an_interval_that_does_not_fit_the_studys_is_refused() -> None:
    """Catches last steps of a group that are thrown away."""
    with pytest.raises(PlanError, match="do not fit"):
        toy(options(mode="local", local_steps=30), every=20)


def test_a_proximal_term_pulls_towards_what_all_sites_know() -> None:
    """Catches a pull towards where the site itself was at the turn's beginning."""
    from motet.training.at_site import train_at_site
    from motet.training.proximal import shared_point
    from motet.training.workshop import workshop

    train = toy(
        options(mode="local", server="fedprox", steps=16, local_steps=8, proximal=0.1), every=2
    )
    told = Trainer(train, sizes={"batches": 5}, seed=3, samples=len(BATCH)).told(train.turn(0))
    (site,) = sites_of((0,) * 5).values()
    for number in range(2):
        train_at_site(train, train.turn(number), site, {**SHARED, **told})  # type: ignore[arg-type]
    networks = workshop(train, site, SHARED).networks  # type: ignore[arg-type]
    point = shared_point(train, networks, {**SHARED, **told})
    want = told["toy.encoder"][: len(point["encoder"])]
    np.testing.assert_array_equal(point["encoder"].numpy(), want)
    assert np.abs(networks.parameters("encoder").numpy() - want).max() > 1e-3


@pytest.mark.parametrize("bits", [0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0x7F800001])
def test_a_nan_stays_one_as_bfloat16(bits: int) -> None:
    """Catches CUDA's NaN, all of whose bits are set, rounded up to a zero."""
    array = np.array([bits], dtype=np.uint32).view(np.float32)
    assert np.isnan(as_float(as_bfloat16(array))).all()


def test_a_scanners_own_moments_have_room_under_masks() -> None:
    """Catches squares of small gradients that are rounded to nothing: Adam divides by them."""
    from dataclasses import replace

    train = replace(toy(options(mode="local", local_steps=4, transfer="float64")), masked=True)
    turn = train.turn(0)

    class Size:
        rows = 5000.0

    bounds = exchange(train, turn).bounds(Size(), SHARED)  # type: ignore[misc, arg-type]
    assert bounds["heads.exp_avg_sq"] == bounds["heads"] == train.largest
    assert bounds["encoder"] > 1e4 * train.largest

"""SCAFFOLD: sites' steps lead where all sites' gradients do, whatever their own people are like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from motet.strategies.fedavg import fedavg
from motet.strategies.in_place import InPlace
from motet.strategies.scaffold import scaffold
from motet.training.control import Controls
from motet.training.networks import Networks, joined
from motet.training.optimizer import Optimizer
from motet.training.phase import Group, Train, Turn, Update
from motet.training.samples import Samples
from training.toy import SHARED, PlainSchema, PlainSite, Where, options, sites_of, toy

SLOPE, AT = np.repeat([1.0, 6.0, 2.0], (4, 2, 7)), np.repeat([-1.0, 2.0, 0.5], (4, 2, 7))
"""Losses ``slope / 2 (w - at)^2`` of 13 people at three sites that do not agree where w is best."""
BEST = (SLOPE * AT).sum() / SLOPE.sum()


class Point(nn.Module):
    """One number."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.add_module(name, nn.Linear(1, 1, bias=False))


@dataclass(frozen=True)
class Fit:
    name: str = "place"

    def build(self, sizes: Mapping[str, int]) -> Point:
        return Point(self.name)

    def samples(self, site: Any, shared: Any) -> Samples:
        rows = site.data
        return Samples(
            arrays={"slope": SLOPE[rows], "at": AT[rows]},
            people=np.array([f"sub-{row}" for row in rows]),
            batch=np.zeros(len(rows), dtype=np.intp),
        )

    def losses(self, networks: Point, batch: Mapping[str, Tensor], draws: Any) -> dict[str, Tensor]:
        apart = next(iter(networks.parameters()))[0, 0] - batch["at"]
        return {"loss": 0.5 * batch["slope"] * apart.square()}


def placed(server: str, name: str = "place", **given: Any) -> float:
    """Where the point is at the end."""
    fit = Fit(name)
    train = Train(
        name="point",
        build=fit.build,
        samples=fit.samples,
        groups=(Group(name=name, size=1),),
        updates=(
            Update(
                name="all",
                groups=(name,),
                optimizer={"name": "sgd", "lr": 0.05},
                losses=fit.losses,
                weights={"loss": 1.0},
            ),
        ),
        options=options(mode="local", batch=0, server=server, **given),
    )
    schema = PlainSchema((Where("a", "b"),))
    rows = {"a": range(4), "b": range(4, 6), "c": range(6, 13)}
    sites = {n: PlainSite(name=n, schema=schema, data=np.array(r)) for n, r in rows.items()}
    ask: Any = InPlace(sites=sites, sizes={"batches": 1}, seed=3)  # type: ignore[arg-type]
    run = scaffold if server == "scaffold" else fedavg
    return float(run(train, ask, {"people": np.asarray(13)})[f"point.{name}"][0])


def test_sites_that_do_not_agree_come_where_all_of_them_would() -> None:
    """Catches a correction of the wrong sign, of one site's weight, or of gradients that were
    corrected already: the mean of networks that each site took towards its own best is not best."""
    assert abs(placed("fedavg", steps=1200, local_steps=20) - BEST) > 0.1
    assert abs(placed("scaffold", steps=1200, local_steps=20) - BEST) < 1e-6


@pytest.mark.parametrize("server", ["fedavg", "scaffold"])
def test_a_group_can_be_called_as_a_control_is(server: str) -> None:
    """Catches networks of a group of that name that are taken for mean gradients."""
    how = {"steps": 40, "local_steps": 20}
    assert placed(server, "control", **how) == placed(server, **how)


def test_of_one_step_between_exchanges_corrections_cancel() -> None:
    """Catches controls that are averaged with other weights than what they correct."""
    one, other = (placed(server, steps=7, local_steps=1) for server in ("scaffold", "fedavg"))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


def test_controls_are_mean_gradients_since_the_group_last_left() -> None:
    """Catches gradients of the last turn alone, where a group waits for others, and controls of
    heads, which are not averaged."""
    found = []
    for every in (0, 2):
        train = toy(options(mode="local", steps=4, local_steps=4, server="scaffold"), every=every)
        still = {"optimizer": {"name": "sgd", "lr": 1e-12}}
        train = replace(train, updates=tuple(replace(u, **still) for u in train.updates))
        sites = sites_of((0, 0, 1, 2, 2))
        scaffold(train, InPlace(sites=sites, sizes={"batches": 5}, seed=3), SHARED)  # type: ignore[arg-type]
        keep = sites["site 0"].keep
        assert {n for n in keep if "control" in n or "gradient" in n} == {
            "toy.encoder.own_control",
            "toy.critic.own_control",
        }
        found.append(keep["toy.encoder.own_control"])
    assert np.abs(found[0]).max() > 1e-3
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("moments", ["averaged", "kept", "forgotten"])
def test_controls_of_adam_are_what_its_moments_remember_of_gradients(
    moments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the critic, which has a step in two, moments would be looked at once: every gradient is
    added. Catches moments of before a turn or of before its step, corrections that are taken for
    the site's own gradients, turns that are left out where a group waits for others, and a look at
    a group that has few steps of many."""
    decay, turn = 0.8, 17
    seen: dict[tuple[str, str], dict[int, list[tuple[Any, Any]]]] = {}
    turns: list[Controls] = []
    correct = Controls.correct

    def recorded(self: Controls, gradients: dict[str, list[Tensor]]) -> None:
        if self not in turns:
            turns.append(self)
        raw = {name: joined(gradients[name]).numpy() for name in self.names if name in gradients}
        correct(self, gradients)
        for name, before in raw.items():
            pair = before, joined(gradients[name]).numpy()
            of_turns = seen.setdefault((self._site.name, name), {})
            of_turns.setdefault(turns.index(self), []).append(pair)

    monkeypatch.setattr(Controls, "correct", recorded)
    how = options(
        mode="local", steps=4 * turn, local_steps=2 * turn, server="scaffold", moments=moments
    )
    train = toy(how, every=turn)
    adam = {"optimizer": {"name": "adam", "lr": 0.003, "betas": (decay, 0.99)}}
    train = replace(train, updates=tuple(replace(u, **adam) for u in train.updates))
    sites = sites_of((0, 0, 1, 2, 2))
    scaffold(train, InPlace(sites=sites, sizes={"batches": 5}, seed=3), SHARED)  # type: ignore[arg-type]
    assert len(turns) == 4 * len(sites)
    for (site, name), of_turns in seen.items():
        block = 1 if name == "critic" else 5
        total, steps, most = 0.0, 0, 0.0
        for pairs in list(of_turns.values())[-1 if name == "critic" else -2 :]:
            raw, corrected = (np.array(one) for one in zip(*pairs, strict=True))
            most = max(most, float(np.abs(corrected - raw).max()))
            for first in range(0, len(raw), block):
                part = corrected[first : first + block]
                weights = decay ** np.arange(len(part))[::-1]
                total = total + len(part) * (weights / weights.sum()) @ part
            total = total - (corrected - raw).sum(axis=0)
            steps += len(raw)
        assert most > 1e-4, "nothing was corrected"
        own = sites[site].keep[f"toy.{name}.own_control"]
        np.testing.assert_allclose(own, total / steps, rtol=0, atol=1e-12, err_msg=f"{site} {name}")


def test_what_leaves_is_declared() -> None:
    """Catches gradients that no plan speaks of, and those of heads, which are not averaged."""
    train = toy(options(mode="local", steps=8, local_steps=4, server="scaffold"))
    names = {spec.name: spec.meaning for spec in train.releases}
    assert "weighted mean gradient of the steps between exchanges" in names["encoder.control"]
    assert "critic.control" in names
    assert "heads.control" not in names
    assert not train.stateless
    plain = toy(options(mode="local", steps=8, local_steps=4))
    assert not [spec.name for spec in plain.releases if spec.name.endswith("control")]


def test_networks_do_not_blow_up_where_nobody_is_at_a_site() -> None:
    """Catches a mean over no steps, and a site that begins with a control of 0 that the others'
    mean does not hold: its first steps would be twice as long."""
    how = options(mode="local", steps=8, local_steps=2, batch=1, server="scaffold")
    ask: Any = InPlace(sites=sites_of((0, 1, 2, 3, 4)), sizes={"batches": 5}, seed=3)  # type: ignore[arg-type]
    found = scaffold(toy(how, strata=""), ask, SHARED)
    assert all(np.isfinite(array).all() for array in found.values())
    controls = Controls(
        train=toy(how),
        networks=SimpleNamespace(  # type: ignore[arg-type]
            count=lambda name: 3,
            leaves={n: [torch.zeros(3)] for n in ("critic", "encoder")},
            buffers={n: torch.zeros(0) for n in ("critic", "encoder")},
            device="cpu",
            dtype=torch.float64,
            shaped=lambda name, flat: flat,
        ),
        optimizers=dict.fromkeys(
            ("critic", "generator"), SimpleNamespace(running=lambda name: (0.0, []))
        ),
        turn=Turn(number=0, first=0, after=2),
        site=(site := PlainSite(name="x", schema=PlainSchema(()), data=np.zeros(0))),  # type: ignore[arg-type]
        shared={"toy.encoder.control": np.ones(3)},
    )
    controls.close("encoder", leaves=True)
    assert not controls.own("encoder").any()
    assert not site.keep
    gradients = {"encoder": [torch.ones(3)]}
    controls.correct(gradients)
    assert (gradients["encoder"][0] == 1.0).all()


class Several(nn.Module):
    """Groups that are only ever added to each other, and one that has no parameter."""

    def __init__(self) -> None:
        super().__init__()
        for name, sizes in {"one": (4, 3), "other": (4,), "unknown": (4,)}.items():
            parts = (nn.Parameter(torch.zeros(size)) for size in sizes)
            self.add_module(name, nn.ParameterList(parts))
        self.add_module("still", nn.Module())
        self.still.register_buffer("kept", torch.zeros(1))

    def loss(self) -> Tensor:
        a, b = self.one
        padded = torch.cat([torch.zeros(1, dtype=a.dtype), b])
        total = a + padded + self.other[0] + self.unknown[0]
        return (total - torch.arange(1.0, 5.0)).square()


def test_gradients_that_share_memory_are_each_corrected_by_their_own() -> None:
    """Catches corrections where gradients lie: of parameters that are added gradients are one
    memory, or a part of it, and each would get the others' corrections."""
    module, names = Several(), ("one", "other", "still", "unknown")
    groups = tuple(
        Group(name=name, size=size) for name, size in zip(names, (7, 4, 1, 4), strict=True)
    )
    update = Update(
        name="all",
        groups=names,
        optimizer={"name": "sgd", "lr": 0.1},
        losses=Fit().losses,
        weights={"loss": 1.0},
    )
    train = Train(
        name="point",
        build=lambda sizes: module,
        samples=Fit().samples,
        groups=groups,
        updates=(update,),
        options=options(mode="local", steps=2, local_steps=1, server="scaffold"),
    )
    of_all = {
        "one": np.array([1.0, 2, 3, 4, 50, 60, 70]),
        "other": np.array([5.0, 6, 7, 8]),
        "still": np.zeros(1),
        "unknown": np.full(4, 100.0),
    }
    site = PlainSite(name="x", schema=PlainSchema(()), data=np.zeros(0))  # type: ignore[arg-type]
    # Of one group the site has no control yet: its gradient is to stay as it is.
    sizes = {"one": 7, "other": 4, "still": 0}
    site.keep |= {f"point.{name}.own_control": np.zeros(size) for name, size in sizes.items()}
    networks = Networks(module, groups, batches=0, dtype=torch.float64, device=torch.device("cpu"))
    controls = Controls(
        train=train,
        networks=networks,
        optimizers={"all": Optimizer(networks, update)},
        turn=Turn(number=0, first=0, after=2),
        site=site,  # type: ignore[arg-type]
        shared={f"point.{name}.control": array for name, array in of_all.items()},
    )
    gradient = -2.0 * np.arange(1.0, 5.0)
    plain = {"one": np.append(gradient, gradient[1:]), "other": gradient, "unknown": gradient}
    for _ in range(2):
        gradients = networks.gradients([module.loss()], names)
        controls.correct(gradients)
        for name, before in plain.items():
            added = 0.0 if name == "unknown" else of_all[name]
            found = torch.cat(gradients[name]).numpy()
            np.testing.assert_array_equal(found, before + added, err_msg=name)
        controls.count(gradients)
    for name in names:
        controls.close(name, leaves=True)
        own = site.keep[f"point.{name}.own_control"]
        np.testing.assert_array_equal(own, plain.get(name, np.zeros(0)))

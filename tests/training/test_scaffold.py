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
from motet.training.phase import Group, Train, Update
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


def controls_at(site: PlainSite, *, told: Mapping[str, Any]) -> Controls:
    """Of networks of two parameters a group, two numbers each."""
    networks = SimpleNamespace(
        count=lambda name: 4,
        buffers={n: torch.zeros(0) for n in ("critic", "encoder")},
        device="cpu",
        dtype=torch.float64,
        shaped=lambda name, flat: flat,
        zeros=lambda name: torch.zeros(4, dtype=torch.float64),
        parts=lambda name, flat: list(flat.split(2)),
    )
    return Controls(
        train=toy(options(mode="local", steps=8, local_steps=2, server="scaffold")),
        networks=networks,  # type: ignore[arg-type]
        site=site,  # type: ignore[arg-type]
        shared={f"toy.{name}.control": array for name, array in told.items()},
    )


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


def test_what_leaves_is_declared() -> None:
    """Catches gradients that no plan speaks of, and those of heads, which are not averaged."""
    train = toy(options(mode="local", steps=8, local_steps=4, server="scaffold"))
    names = {spec.name: spec.meaning for spec in train.releases}
    assert "mean gradient of the steps between exchanges" in names["encoder.control"]
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
    site = PlainSite(name="x", schema=PlainSchema(()), data=np.zeros(0))
    controls = controls_at(site, told={"encoder": np.ones(4)})
    controls.close("encoder", leaves=True)
    assert not controls.own("encoder").any()
    assert not site.keep
    gradients = {"encoder": [torch.ones(2, dtype=torch.float64) for _ in range(2)]}
    controls.correct(gradients)
    assert (torch.cat(gradients["encoder"]) == 1.0).all()


@pytest.mark.parametrize("whose", ["one group's", "two groups'"])
def test_parameters_of_one_gradient_are_each_corrected_by_their_own(whose: str) -> None:
    """Catches corrections in place where parameters that are only ever added have one gradient, in
    one memory: both would get both."""
    site = PlainSite(name="x", schema=PlainSchema(()), data=np.zeros(0))
    site.keep |= {f"toy.{name}.own_control": np.zeros(4) for name in ("critic", "encoder")}
    of_all = {"critic": np.array([1.0, 2, 3, 4]), "encoder": np.array([5.0, 6, 7, 8])}
    controls = controls_at(site, told=of_all)
    one, other, third = (torch.full((2,), x, dtype=torch.float64) for x in (10.0, 20.0, 30.0))
    if whose == "one group's":
        gradients = {"critic": [one, one], "encoder": [other, third]}
    else:
        gradients = {"critic": [one, other], "encoder": [one, third]}
    before = {name: torch.cat(parts).numpy() for name, parts in gradients.items()}
    for _ in range(2):
        corrected = dict(gradients)
        controls.correct(corrected)
        for name, parts in corrected.items():
            assert torch.cat(parts).tolist() == (before[name] + of_all[name]).tolist()
    for name in before:
        controls.close(name, leaves=True)
        assert controls.own(name).tolist() == before[name].tolist()

"""DeepComBat's first training: what its sums come to, and what networks know after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from conformance.cases import case
from conformance.federation import Answer, Federation
from conformance.interrupted import Killed, interrupt, same
from kernel.plans.catalog import SCHEMA
from motet.client.local_site import LocalSite
from motet.client.policy import SitePolicy
from motet.config import parse_study
from motet.flower.records import decode
from motet.harmonizers.deepcombat import gaussian
from motet.harmonizers.deepcombat.coding import Coder
from motet.harmonizers.deepcombat.gaussian import BETWEEN, COVARIANCE, Gaussian
from motet.harmonizers.deepcombat.params import DeepComBatParams
from motet.harmonizers.deepcombat.training import train_phase
from motet.params import parse_params
from motet.phases import UNTOLD, Sum
from motet.plan import Plan, build_plan
from motet.server.checkpoint import Checkpoint
from motet.server.events import Kind
from motet.sites import agreed
from motet.strategies import strategy_for
from motet.strategies.in_place import InPlace
from motet.training.networks import build

SITES = ("site-b0", "site-b1", "site-b2")
COVARIANCES = (f"{UNTOLD}{COVARIANCE}", f"{UNTOLD}{BETWEEN}")


class Heard:
    """A site that answers honestly and writes down the names of arrays that it was told."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __call__(self, message: Message, answer: Answer) -> Message:
        _, body = decode(message.content)
        self.names |= set(body.arrays)
        return answer()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first training that is over at once, for what does not look at its networks."""
    monkeypatch.setattr(gaussian, "STEPS", 10)


def known_at_first(patch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the coordinator of every run knows when it makes the first weights; it grows."""
    found: list[dict[str, Any]] = []
    first = Gaussian.first

    def seen(self: Gaussian, networks: Any, train: Any, shared: Any, seed: int) -> None:
        found.append(dict(shared))
        first(self, networks, train, shared, seed)

    seen.__module__, seen.__qualname__ = first.__module__, first.__qualname__
    patch.setattr(Gaussian, "first", seen)
    return found


def params(train: Mapping[str, Any], **given: Any) -> DeepComBatParams:
    study = {"study": "s", "method": "deepcombat", "params": given, "train": dict(train)}
    return parse_params(parse_study(study))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def begun() -> tuple[Plan, dict[str, LocalSite], dict[str, Any]]:
    """A plan, its sites, and what is shared before the networks are trained."""
    study = case(
        "deepcombat", n=(40, 30, 20), p=6, covariates=("age",), options={"start": "moments"}
    )
    tables = study.tables({"b0": "one", "b1": "one", "b2": "two"})
    plan = build_plan(study.study, agreed(study.study, tables))
    sites = {
        name: LocalSite(name=name, schema=plan.schema, data=table, seed=plan.seed)
        for name, table in tables.items()
    }
    ask, shared = InPlace(sites=sites, sizes=plan.schema.sizes, seed=plan.seed), {}
    for phase in plan.steps[1:4]:
        shared |= strategy_for(phase, plan)(phase, ask, shared)
    return plan, sites, shared


def test_covariances_are_those_of_everybody(begun: Any) -> None:
    """Catches products about a site's mean, batches of one site taken together, and covariates
    that are centred on another scale than they are drawn on."""
    plan, sites, shared = begun
    coder = Coder(plan.params, plan.schema, shared)
    seen = [(coder.inputs(site.data), site.data.batch) for site in sites.values()]
    joint = np.vstack([np.hstack([inputs["x"], inputs["w"]]) for inputs, _ in seen])
    batch = np.concatenate([of for _, of in seen])
    means = np.array([joint[batch == of].mean(axis=0) for of in batch])
    within = (joint - means).T @ (joint - means)
    between = (means - joint.mean(axis=0)).T @ (means - joint.mean(axis=0))
    np.testing.assert_allclose(
        shared[f"{UNTOLD}{COVARIANCE}"], within / (len(joint) - 3), atol=1e-10
    )
    np.testing.assert_allclose(shared[f"{UNTOLD}{BETWEEN}"], between / len(joint), atol=1e-10)


def test_no_sum_is_of_a_single_batch() -> None:
    """Catches means of batches among what leaves, which masks would not hide."""
    (phase,) = Gaussian(params({}), SCHEMA).steps()
    assert isinstance(phase, Sum)
    assert not [spec.name for spec in phase.arrays if "batches" in spec.shape]


@pytest.mark.usefixtures("short")
def test_sites_that_show_no_sum_of_their_own_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches rows of single batches in a sum, which such sites refuse, and bounds that a masked
    product exceeds."""
    study = case("deepcombat", {"start": "moments"}, n=(40, 40, 40), p=4, covariates=("age",))
    study = replace(study, secure=None, train={"preset": "tiny", "batch": 60, "mode": "local"})
    closed = dict.fromkeys(SITES, SitePolicy(new_keys=True))
    with monkeypatch.context() as patch:
        found = known_at_first(patch)
        Federation(study, policies=closed).run()
        Federation(replace(study, secure=False)).run()
    masked, plain = found
    for name in COVARIANCES:
        # Not to the last bit: masked sums are of integers.
        np.testing.assert_allclose(masked[name], plain[name], atol=1e-6)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("secure", [None, False], ids=["masked", "not masked"])
def test_covariances_stay_at_the_coordinator(
    secure: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches sites that are told of how features vary together, or a model that keeps it, and
    people who read beforehand that all sites are told."""
    study = case("deepcombat", {"start": "moments"}, n=(40, 40, 40), p=4, covariates=("age",))
    sites = Federation(replace(study, secure=secure), alter=dict.fromkeys(SITES, heard := Heard()))
    found = known_at_first(monkeypatch)
    outcome = sites.run()
    assert set(COVARIANCES) <= set(found[0])
    assert not [name for name in outcome.shared if "covariance" in name]
    assert {"mean", "cvae.encoder"} <= heard.names, "nothing was looked at"
    assert not [name for name in heard.names if "covariance" in name]
    plan = outcome.plan
    (phase,) = (phase for phase in plan.phases if phase.name == COVARIANCE)
    assert "no site reads what is concluded" in plan.readers(phase)


@pytest.mark.usefixtures("short")
def test_a_run_goes_on_from_its_covariances(tmp_path: Path) -> None:
    """Catches a checkpoint without what no site was told."""
    study = case("deepcombat", {"start": "moments"}, n=(40, 40, 40), p=4, covariates=("age",))
    expected = Federation(study).run()
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, Checkpoint, "save", call=3, when="after")
        sites = Federation(study, folder=tmp_path / "sites")
        with pytest.raises(Killed):
            sites.run(checkpoint=tmp_path / "progress.npz")
        sites.ended()
    again = Federation(study, folder=tmp_path / "sites")
    same(again.run(checkpoint=tmp_path / "progress.npz"), expected)
    assert [(e.kind, e.phase) for e in again.events if e.kind is Kind.RESUMED] == [
        (Kind.RESUMED, COVARIANCE)
    ]


def test_people_are_reconstructed_before_anybody_is_trained_on(begun: Any) -> None:
    """Catches people drawn with another covariance than theirs, and columns of drawn batches that
    are taken for the study's."""
    import torch

    plan, sites, shared = begun
    train = train_phase(plan.params, plan.schema)
    networks = build(train, plan.schema.sizes, seed=plan.seed)
    Gaussian(plan.params, plan.schema).first(networks, train, shared, plan.seed)
    assert not networks.vector("encoder_batch").any()
    assert not networks.vector("decoder_batch").any()
    coder = Coder(plan.params, plan.schema, shared)
    error = total = 0.0
    for site in sites.values():
        inputs = {
            k: torch.from_numpy(v).to(networks.dtype) for k, v in coder.inputs(site.data).items()
        }
        with torch.no_grad():
            mu, _ = networks.module.encode(inputs["x"], inputs["w"], inputs["member"])
            found = networks.module.decode(mu, inputs["w"], inputs["member"])
        error += float((found - inputs["x"]).square().sum())
        total += float(inputs["x"].square().sum())
    assert error < 0.6 * total


@pytest.mark.parametrize(
    ("train", "given", "rates"),
    [
        ({"preset": "paper"}, {}, (0.01, None)),
        ({}, {}, (0.0003, 0.003)),
        ({"mode": "exact"}, {"start": "random"}, (0.001, None)),
        ({}, {"start": "random", "learning_rate": 0.02}, (0.02, None)),
        ({"preset": "tiny"}, {"start": "random"}, (0.01, None)),
    ],
    ids=str,
)
def test_rates(train: Any, given: Any, rates: tuple[float, float | None]) -> None:
    """Catches random weights with the small steps of networks that begin near their end."""
    found = params(train, **given)
    assert (found.learning_rate, found.columns_rate) == rates
    optimizer = train_phase(found, SCHEMA).updates[0].optimizer
    columns = (
        {} if rates[1] is None else dict.fromkeys(("encoder_batch", "decoder_batch"), rates[1])
    )
    assert optimizer.get("lr_of", {}) == columns

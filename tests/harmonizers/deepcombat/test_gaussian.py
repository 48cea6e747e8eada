"""DeepComBat's first training: what its sums come to, and what networks know after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from conformance.federation import Federation
from kernel.plans.catalog import SCHEMA
from motet.client.local_site import LocalSite
from motet.client.policy import SitePolicy
from motet.config import parse_study
from motet.harmonizers.deepcombat.coding import Coder
from motet.harmonizers.deepcombat.gaussian import BETWEEN, SHARED, Gaussian
from motet.harmonizers.deepcombat.params import DeepComBatParams
from motet.harmonizers.deepcombat.training import train_phase
from motet.phases import Sum
from motet.plan import Plan, build_plan, parse_params
from motet.sites import agreed
from motet.strategies import strategy_for
from motet.strategies.in_place import InPlace
from motet.training.networks import build


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
    np.testing.assert_allclose(shared[SHARED], within / (len(joint) - 3), atol=1e-10)
    np.testing.assert_allclose(shared[BETWEEN], between / len(joint), atol=1e-10)


def test_no_sum_is_of_a_single_batch() -> None:
    """Catches means of batches among what leaves, which masks would not hide."""
    (phase,) = Gaussian(params({}), SCHEMA).steps()
    assert isinstance(phase, Sum)
    assert not [spec.name for spec in phase.arrays if "batches" in spec.shape]


def test_sites_that_show_no_sum_of_their_own_take_part() -> None:
    """Catches rows of single batches in a sum, which such sites refuse, and bounds that a masked
    product exceeds."""
    study = case("deepcombat", {"start": "moments"}, n=(40, 40, 40), p=4, covariates=("age",))
    study = replace(study, secure=None, train={"preset": "tiny", "batch": 60, "mode": "local"})
    sites = ("site-b0", "site-b1", "site-b2")
    closed = dict.fromkeys(sites, SitePolicy(new_keys=True))
    masked = Federation(study, policies=closed).run()
    plain = Federation(replace(study, secure=False)).run()
    for name in (SHARED, BETWEEN):
        # Not to the last bit: masked sums are of integers.
        np.testing.assert_allclose(masked.shared[name], plain.shared[name], atol=1e-6)


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

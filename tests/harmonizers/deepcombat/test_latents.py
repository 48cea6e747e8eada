"""How far the spread of batches in latent space is adjusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from motet.client.local_site import LocalSite
from motet.harmonizers._linear.model import harmonized_rows
from motet.harmonizers.deepcombat.coding import Coder, over_latents, under
from motet.harmonizers.deepcombat.method import LATENT
from motet.harmonizers.deepcombat.params import DeepComBatParams
from motet.plan import Plan, build_plan
from motet.sites import agreed
from motet.strategies import strategy_for
from motet.strategies.in_place import InPlace


@pytest.fixture(scope="module")
def fitted() -> tuple[Plan, dict[str, LocalSite], dict[str, Any]]:
    """A finished fit of three batches of different spread."""
    study = case("deepcombat", n=(40, 30, 20), p=6, covariates=("age",))
    spread = np.array([{"b0": 1.0, "b1": 3.0, "b2": 0.5}[name] for name in study.batch])
    mean = study.values.mean(axis=0)
    study.values[:] = mean + spread[:, None] * (study.values - mean)
    tables = study.tables()
    plan = build_plan(study.study, agreed(study.study, tables))
    sites = {
        name: LocalSite(name=name, schema=plan.schema, data=table, seed=plan.seed)
        for name, table in tables.items()
    }
    ask, shared = InPlace(sites=sites, sizes=plan.schema.sizes, seed=plan.seed), {}
    for phase in plan.steps[1:]:
        if not (phase.when and not len(shared[phase.when])):
            shared |= strategy_for(phase, plan)(phase, ask, shared)
    return plan, sites, shared


def of_latents(
    fitted: tuple[Plan, dict[str, LocalSite], dict[str, Any]], latent_scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """gamma_star and delta_star of all sites' latents, delta_star of residuals, and every site's
    harmonized latents."""
    plan, sites, shared = fitted
    params = plan.params.model_copy(update={"latent_scale": latent_scale})
    coder = Coder(params, plan.schema, shared)
    gamma, delta, rest, moved = [], [], [], []
    for site in sites.values():
        model = plan.harmonizer.site_model(params, site, shared)
        own = type(model)(
            site=model.site, batches=model.batches, arrays=under(model.arrays, LATENT)
        )
        gamma.append(own.arrays["gamma_star"])
        delta.append(own.arrays["delta_star"])
        rest.append(model.arrays["delta_star"])
        latents = over_latents(site.data, coder.coded(site.data).latent)
        blocks = harmonized_rows(latents, own, under(shared, LATENT), plan.schema)
        moved.append(np.vstack([block.copy() for _, block in blocks]))
    return np.vstack(gamma), np.vstack(delta), np.vstack(rest), moved


def test_spread_in_latent_space_is_adjusted_as_far_as_asked(fitted: Any) -> None:
    """Catches a scale that is taken whole whatever is asked, one that moves batches too, and one
    that reaches the residuals."""
    gamma, whole, rest, _ = of_latents(fitted, 1.0)
    assert np.abs(np.log(whole)).max() > 0.5, "batches do not differ: nothing was looked at"
    for latent_scale in (0.0, 0.5):
        other, delta, residuals, _ = of_latents(fitted, latent_scale)
        np.testing.assert_array_equal(other, gamma)
        np.testing.assert_array_equal(residuals, rest)
        np.testing.assert_allclose(delta, whole**latent_scale, rtol=1e-15)


def test_people_keep_their_batches_spread_where_none_is_adjusted(fitted: Any) -> None:
    """Catches a power that turns around: batches brought apart instead of together."""

    def apart(latent_scale: float) -> float:
        """How many times wider the widest batch is than the narrowest."""
        *_, moved = of_latents(fitted, latent_scale)
        spreads = [part.std(axis=0).mean() for part in moved]
        return float(max(spreads) / min(spreads))

    assert apart(1.0) < apart(0.5) < apart(0.0)


def test_as_published_all_of_it_is_adjusted() -> None:
    """Catches a preset ``paper`` that is not the paper's."""
    found = {
        preset: DeepComBatParams.model_validate({"train": {"preset": preset}}).latent_scale
        for preset in ("paper", "small", "tiny")
    }
    assert found == {"paper": 1.0, "small": 0.5, "tiny": 1.0}


def test_reports_do_not_speak_of_a_scale_that_nothing_has() -> None:
    """Catches Methods with a latent scale beside ``adjust: location``."""
    assert DeepComBatParams.model_validate({"adjust": "location"}).unread == ("latent_scale",)
    assert DeepComBatParams.model_validate({}).unread == ()

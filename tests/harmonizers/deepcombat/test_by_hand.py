"""What DeepComBat makes of people, beside the same from the paper's definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from conformance.cases import Case, case
from conformance.direct import Direct, direct
from motet.harmonizers.deepcombat.coding import Coder, under
from motet.harmonizers.deepcombat.method import LATENT
from motet.harmonizers.deepcombat.params import DeepComBatParams
from motet.harmonizers.deepcombat.training import Training, train_phase
from motet.training.moment import Moment
from motet.training.networks import trained

K = 3


@pytest.fixture(scope="module")
def fitted() -> tuple[Case, Direct]:
    study = case("deepcombat", n=(20, 22, 18), covariates=("age",))
    return study, direct(study, study.tables())


class ByHand:
    """The networks of a fit and its people, standardized."""

    def __init__(self, study: Case, fit: Direct) -> None:
        self.study, self.fit, self.shared = study, fit, fit.shared
        self.age = study.covariates[["age"]].to_numpy(float)
        self.batch = np.array([study.batches.index(name) for name in study.batch])
        self.x = (study.values - self.shared["mean"]) / self.shared["sd"]
        self.w = torch.from_numpy((self.age - self.shared["low"]) / self.shared["range"])
        train = train_phase(fit.plan.params, fit.plan.schema)
        self.networks = trained(train, fit.plan.schema.sizes, self.shared)

    def latent(self, member: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            x, of = torch.from_numpy(self.x), torch.from_numpy(member)
            return self.networks.encode(x, self.w, of)[0].numpy()

    def decoded(self, latent: np.ndarray, member: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            of = torch.from_numpy(member)
            found = self.networks.decode(torch.from_numpy(latent), self.w, of).numpy()
        return found * self.shared["sd"] + self.shared["mean"]

    def combat(self, y: np.ndarray, shared: Mapping[str, Any], prefix: str) -> np.ndarray:
        """Johnson et al. 2007, the last step, with what the sites estimated."""
        found, sd = np.empty_like(y), np.sqrt(shared["var_pooled"])
        fitted = shared["alpha"] + self.age @ shared["beta"]
        for k, name in enumerate(self.study.batches):
            here, model = self.batch == k, self.fit.models[f"site-{name}"].arrays
            gamma, delta = (model[f"{prefix}{star}_star"][0] for star in ("gamma", "delta"))
            z = (y[here] - fitted[here]) / sd
            found[here] = sd * (z - gamma) / np.sqrt(delta) + fitted[here]
        return found


def test_people_are_harmonized_as_published(fitted: tuple[Case, Direct]) -> None:
    """Hu et al. 2024, 2.3: latent means and residuals each through ComBat, decoded as of the mean
    of all batches. Catches a stage that is left out, and people decoded as of their own batch or
    of none: federated and pooled would agree on it."""
    study, fit = fitted
    by_hand = ByHand(study, fit)
    own = np.eye(K)[by_hand.batch]
    latent = by_hand.latent(own)
    residual = study.values - by_hand.decoded(latent, own)
    style = by_hand.combat(latent, under(fit.shared, LATENT), LATENT)
    everybody = np.full_like(own, 1.0 / K)
    expected = by_hand.decoded(style, everybody) + by_hand.combat(residual, fit.shared, "")
    assert (np.abs(fit.values - expected).max(axis=0) / study.scale).max() < 1e-12
    assert (np.abs(fit.values - study.values).max(axis=0) / study.scale).min() > 1e-3


def test_people_of_an_unseen_site_are_of_all_batches_alike(fitted: tuple[Case, Direct]) -> None:
    """Catches an unseen scanner that counts as none, or as the first of the study."""
    study, fit = fitted
    by_hand = ByHand(study, fit)
    (everywhere,) = study.pooled().values()
    unseen = replace(everywhere, site="elsewhere")
    coded = Coder(fit.plan.params, fit.plan.schema, fit.shared).coded(unseen)
    alike = np.full((len(unseen), K), 1.0 / K)
    latent = by_hand.latent(alike)
    np.testing.assert_allclose(coded.latent, latent, rtol=0, atol=1e-12)
    away = coded.reconstructed - by_hand.decoded(latent, alike)
    assert (np.abs(away).max(axis=0) / study.scale).max() < 1e-12


@pytest.mark.parametrize(
    ("epoch", "weight"),
    [
        (0.0, 0.0),
        (4.99, 0.0),
        (5.0, 0.0),
        (7.5, 0.5),
        (10.0, 1.0),
        (11.24, 1.0),
        (11.25, 0.0),
        (13.75, 0.5),
        (34.9, 0.98),
        (35.0, 1.0),
        (39.99, 1.0),
    ],
)
def test_the_divergence_has_its_weight_in_cycles(
    fitted: tuple[Case, Direct], epoch: float, weight: float
) -> None:
    """Of 40 epochs five without the term, thirty in cycles that rise for 5 and hold for 1.25, five
    with all of it. Catches a schedule that nothing reads, and one that begins late. A training of
    another length has the same by its parts."""
    _, fit = fitted
    training = Training(DeepComBatParams(), fit.plan.schema)
    for per_epoch in (100, 300):
        steps = 40 * per_epoch
        moment = Moment(step=round(epoch * per_epoch), steps=steps, per_epoch=float(per_epoch))
        assert training.weighing(moment)["kl"] == pytest.approx(weight, abs=1e-9)

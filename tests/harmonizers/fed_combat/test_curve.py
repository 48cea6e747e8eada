"""A network keeps a curved effect of age that a line takes for the scanners'."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from conformance.cases import Case, case
from conformance.direct import Direct, direct
from conformance.masked import ran, spread
from motet.agreement import agree
from motet.client.local_site import LocalSite
from motet.harmonizers.fed_combat.covariates import Effects
from motet.training.phase import Train

N, P = (60, 80, 50), 8
YOUNGEST, OLDEST = np.array([20, 35, 50]), np.array([50, 70, 85])


def curved(seed: int) -> tuple[Case, np.ndarray]:
    """Three sites of different ages, with a parabola of age; and that parabola, (n, p)."""
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(len(N)), N)
    age = rng.uniform(YOUNGEST[code], OLDEST[code]).round(1)
    t = (age[:, None] - 50) / 15
    truth = t * rng.standard_normal(P) + t**2 * rng.uniform(0.5, 1.5, P) * rng.choice([-1, 1], P)
    noise = rng.standard_normal((len(age), P)) * rng.uniform(0.7, 1.4, (len(N), P))[code]
    values = 5 + truth + rng.standard_normal((len(N), P))[code] + noise
    study = replace(
        case("fed_combat", n=N, p=P, covariates=("age",)),
        values=values,
        batch=np.array([f"b{k}" for k in code]),
        covariates=pd.DataFrame({"age": age}),
        train={"preset": "small"},
    )
    return study, truth


def recovered(study: Case, fit: Direct, truth: np.ndarray) -> float:
    """RMS distance of phi from the truth, each about its mean, in units of the noise."""
    phi = Effects(fit.plan.params, fit.plan.schema, fit.shared).of(study.pooled()["all"])
    away = phi - truth
    return float(np.sqrt(np.square(away - away.mean(axis=0)).mean()))


def left(study: Case, values: np.ndarray, truth: np.ndarray) -> float:
    """RMS over batches and features of what is left between batches, beside the truth."""
    rest = values - truth
    means = np.array([rest[study.batch == b].mean(axis=0) for b in study.batches])
    return float(np.sqrt(np.square(means - means.mean(axis=0)).mean()))


@pytest.mark.parametrize("seed", range(3))
def test_curve_is_kept_and_scanners_go(seed: int) -> None:
    """Catches a network that does not bend, one whose effects batch intercepts swallow, and an
    apply that forgets phi."""
    study, truth = curved(seed)
    network = direct(study, study.tables())
    straight = replace(study, options={"phi": "linear"}, train={"preset": "small", "steps": 2})
    line = direct(straight, straight.tables())
    assert recovered(study, network, truth) < 0.3
    assert recovered(study, line, truth) > 0.8
    assert left(study, network.values, truth) < 0.5 * left(study, line.values, truth)
    assert left(study, network.values, truth) < 0.3


def test_masked_sums_come_to_the_same() -> None:
    """Catches a training that small differences of sums send elsewhere."""
    study, _ = curved(0)
    study = replace(study, train={"preset": "small", "steps": 20})
    plain = direct(study, study.tables()).values
    sites, outcome = ran(replace(study, secure=None))
    assert outcome.plan.secure
    assert (np.abs(sites.values - plain) / spread(plain)).max() < 1e-9


def test_local_mode_finds_the_curve() -> None:
    """Catches a federation whose sites, each with its own part of the ages, never agree."""
    study, truth = curved(1)
    study = replace(study, train={"preset": "small", "mode": "local", "steps": 300})
    assert recovered(study, direct(study, study.tables()), truth) < 0.5


def test_who_validates_is_nobodys_peer() -> None:
    """Catches people of the validation in the differences that are trained on."""
    study, truth = curved(2)
    study = replace(study, train={"preset": "small", "validation": 0.2, "validate_every": 10})
    fit = direct(study, study.tables())
    assert recovered(study, fit, truth) < 0.35
    train = next(phase for phase in fit.plan.phases if isinstance(phase, Train))
    (table,) = study.pooled().values()
    site = LocalSite(name="all", schema=agree([table.described]), data=table, seed=study.seed)
    samples = replace(train.samples.__self__, schema=site.schema).samples(site, fit.shared)
    back = samples.held_back(0.2, study.seed)
    own, peers = samples.arrays["w"][:, 0], samples.arrays["w"][:, 1:]
    judged = {tuple(row) for row in own[back]} - {tuple(row) for row in own[~back]}
    assert 20 < back.sum() < 60
    assert not judged & {tuple(row) for row in peers[~back].reshape(-1, peers.shape[2])}


def test_without_biases_the_network_is_odd() -> None:
    """Catches a limit of the published network that its option does not tell of any more."""
    study, truth = curved(0)
    study = replace(study, options={"bias": False})
    assert recovered(study, direct(study, study.tables()), truth) > 0.8

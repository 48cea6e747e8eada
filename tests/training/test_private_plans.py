"""What a private training is refused for, what its plan says, and how much noise it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from motet.agreement import agree
from motet.config import DP as DPSection
from motet.config import Privacy
from motet.errors import StudyFileError, TrainingError
from motet.plan import build_plan
from motet.training.phase import Group, Train
from motet.training.privacy import (
    Mechanism,
    check,
    learned,
    learned_in,
    mechanism,
    noise_multiplier,
    noise_to_signal,
    sentences,
    spent,
)
from training.private import World, private_case, world

REFERENCE = [
    (1.0, 0.01, 1000, 1e-5, 2.101366525420273, 1.8282436461194622),
    (2.28515625, 0.05, 800, 1e-5, 2.998810582995599, 2.751753297089113),
    (1.1, 256 / 60000, 14062, 1e-5, 2.5965558697943036, 2.3816860032302603),
    (4.0, 1.0, 100, 1e-6, 15.32798402653992, 14.450777208151592),
    (3.0, 0.25, 160, 1e-5, 5.384736742962922, 4.954541051883007),
    (0.8, 0.02, 500, 1e-6, 6.164547278809124, 5.440307831318786),
]
"""Noise, rate, steps, delta; epsilon by dp-accounting 0.6.0 (Google, PyPI): its RdpAccountant, and
its PLDAccountant, whose bound is tight. Both of ``SelfComposedDpEvent(PoissonSampledDpEvent(rate,
GaussianDpEvent(noise)), steps)``, with one person more or less."""


@pytest.fixture(scope="module")
def here() -> World:
    return world()


@pytest.mark.parametrize(("noise", "rate", "steps", "delta", "rdp", "exact"), REFERENCE)
def test_epsilon_is_that_of_another_accountant(
    noise: float, rate: float, steps: int, delta: float, rdp: float, exact: float
) -> None:
    """Catches an epsilon that is smaller than it is, and orders too few to be near."""
    found = spent(noise, rate, steps, delta)
    assert found == pytest.approx(rdp, rel=4e-3)
    assert exact < found < 1.2 * exact


@pytest.mark.parametrize("epsilon", [0.05, 0.5, 3.0, 20.0])
def test_noise_is_as_large_as_epsilon_needs(epsilon: float) -> None:
    """Catches noise for another number of steps or rate, and small epsilons that are refused."""
    noise = noise_multiplier(epsilon, 1e-5, 0.05, 400)
    assert 0.995 * epsilon < spent(noise, 0.05, 400, 1e-5) <= epsilon
    assert spent(0.98 * noise, 0.05, 400, 1e-5) > epsilon


def test_what_no_noise_gives_is_refused() -> None:
    """Catches the accountant's own error, which says nothing of the study file."""
    with pytest.raises(TrainingError, match="No noise gives epsilon 1e-08") as error:
        noise_multiplier(1e-8, 1e-9, 1.0, 1000)
    assert error.value.where["key"] == "privacy.dp.epsilon"


def test_rate_and_steps_are_those_of_the_training(here: World) -> None:
    """Catches noise for fewer steps than are taken, and a divisor that is private."""
    how = mechanism(here.train, 39)
    assert (how.rate, how.steps) == (1 / 5, 6)
    assert spent(how.noise_multiplier, how.rate, how.steps, 1e-4) <= 8.0


def test_a_large_delta_is_refused(here: World) -> None:
    """Catches a delta with which somebody's row may be published, and no word what to set."""
    train = replace(here.train, private=replace(here.train.private, delta=1 / 39))
    with pytest.raises(TrainingError, match=r"39 rows.*Set privacy: .*delta: 0\.001"):
        mechanism(train, 39)


def two(train: Train) -> dict[str, Any]:
    first, rest = train.updates[0], train.groups[0].name
    others = tuple(name for name in first.groups if name != rest)
    return {
        "updates": (
            replace(first, groups=others),
            replace(first, name="critic", groups=(rest,)),
        )
    }


def local(train: Train) -> dict[str, Any]:
    return {"groups": tuple(Group(name=g.name, size=g.size, keeper="local") for g in train.groups)}


def how(**options: Any) -> Any:
    return lambda train: {"options": train.options.model_copy(update=options)}


REFUSED: dict[str, tuple[Any, str]] = {
    "not declared": (lambda train: {"dp": None}, "not declared as sums over people, one by one"),
    "local groups": (local, "never leave their site"),
    "several updates": (two, "several updates a step (autoencoder, critic)"),
    "local mode": (how(mode="local"), "Set train: {mode: exact}"),
    "validation": (how(validation=0.2), "Set train: {validation: 0}"),
    "equal shares": (lambda train: {"strata": "batch"}, "rates that depend on"),
    "bfloat16": (how(precision="bfloat16"), "Set train: {precision: float32}"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name: str, here: World) -> None:
    """Catches a training of which one person's part has no bound, and a word without a way out."""
    change, says = REFUSED[name]
    check(here.train)
    with pytest.raises(StudyFileError) as error:
        check(replace(here.train, **change(here.train)))
    assert says in str(error.value)
    assert error.value.where["key"] == "privacy.dp"


@pytest.mark.parametrize(
    ("method", "train", "says"),
    [
        ("combat", {}, "'combat' has none"),
        ("deepcombat", {"mode": "local"}, "mode: exact"),
        ("deepcombat", {"validation": 0.25}, "validation: 0"),
    ],
)
def test_a_study_is_refused(method: str, train: dict[str, Any], says: str) -> None:
    """Catches a plan that is made, approved and run until it fails at the sites."""
    study = replace(private_case(**train), method=method)
    schema = agree([table.described for table in study.tables().values()])
    with pytest.raises(StudyFileError, match=says) as error:
        build_plan(study.study, schema)
    assert error.value.where["key"] == "privacy.dp"


def test_the_plan_says_what_is_covered_and_what_is_not(here: World) -> None:
    """Catches a plan that calls the study private, and a sum that is in neither list."""
    said = here.plan.to_json()["privacy"]
    assert said["covers"] == ["cvae"]
    leaving = {phase.name for phase in here.plan.phases if phase.leaves is not None}
    assert {*said["covers"], *said["not_covered"]} == leaving
    assert {"schema", "mean", "spread", "latents", "residuals"} <= {*said["not_covered"]}
    covered, exact = sentences(said)
    assert "(8, 0.0001)" in covered
    assert "without noise" in exact
    assert "study as a whole is not differentially private" in exact


@pytest.mark.parametrize(("people", "told"), [(10**7, False), (300, True)])
def test_noise_is_set_beside_what_it_hides(people: int, told: bool, here: World) -> None:
    """Catches a training on noise alone of which nobody is told, and a factor of sites or steps."""
    sizes = {"sites": 9, "batches": 5}
    how = Mechanism(rate=0.5, steps=400, noise_multiplier=4.0)
    found = noise_to_signal(here.train, how, people, sizes)
    numbers = sum(group.numbers(5) for group in here.train.leaving)
    drawn = np.random.default_rng(0).normal(0.0, 4.0, (9, 400, 500)).sum(axis=(0, 1))
    length = np.linalg.norm(drawn) * np.sqrt(numbers / 500)
    assert found == pytest.approx(length / (400 * 0.5 * people), rel=0.05)
    assert bool(learned(found)) == told


def test_a_finished_model_says_what_noise_may_have_left_of_it() -> None:
    """Catches a report that is silent, since the model calls it otherwise."""
    assert learned_in("cvae", {"cvae.noise_to_signal": np.asarray(0.4)}) == learned(0.4) != ""
    assert learned_in("cvae", {"cvae.encoder": np.zeros(3)}) == ""


def test_counts_and_losses_do_not_leave(here: World) -> None:
    """Catches how many were drawn, and sums of losses, which no noise is on."""
    names = {spec.name for spec in here.train.releases}
    assert names == {spec.name for spec in here.train.arrays(here.turn)}
    assert names == {group.name for group in here.train.groups}


def test_plans_without_noise_keep_their_hash() -> None:
    """Catches approvals that are void since this can be asked for, and two plans of one hash."""
    study = case("deepcombat")
    schema = agree([table.described for table in study.tables().values()])
    plain = build_plan(study.study, schema)
    assert plain.privacy is None
    assert "privacy" not in plain.to_json()
    text = str(plain._hashed())
    assert "private" not in text
    assert "'dp'" not in text
    hashes = {plain.hash}
    for change in ({"epsilon": 1.0}, {"epsilon": 2.0}, {"epsilon": 1.0, "clip": 2.0}):
        privacy = Privacy(secure_sum=False, dp=DPSection(**change))
        hashes.add(build_plan(study.study.model_copy(update={"privacy": privacy}), schema).hash)
    assert len(hashes) == 4

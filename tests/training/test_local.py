"""Local mode: what is averaged, what is an owner's, what stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from conformance.direct import direct
from motet.errors import PlanError
from motet.releases import bind
from motet.strategies.exact import exact
from motet.strategies.fedavg import average, fedavg
from motet.strategies.in_place import InPlace
from motet.training.at_site import train_at_site
from motet.training.coordinator import Trainer
from motet.training.phase import Train
from training.toy import BATCH, SHARED, H, options, sites_of, toy

SIZES = {"batches": 5}
WHERE = (0, 0, 1, 2, 2)


def local(**given: Any) -> Any:
    return options(mode="local", **{"steps": 8, "local_steps": 4, **given})


def ask(where: tuple[int, ...] = WHERE, **also: Any) -> InPlace:
    return InPlace(sites=sites_of(where), sizes=SIZES, seed=3, **also)  # type: ignore[arg-type]


def with_sgd(train: Train) -> Train:
    plain = {"name": "sgd", "lr": 0.05}
    return replace(train, updates=tuple(replace(u, optimizer=plain) for u in train.updates))


@pytest.mark.parametrize(("strata", "batch"), [("", 0), ("batch", 8), ("batch", 3)])
@pytest.mark.parametrize("where", [(0, 0, 1, 2, 2), (0, 1, 2, 3, 4), (0,) * 5], ids=str)
def test_one_step_of_gradient_descent_between_exchanges_is_exact_mode(
    where: tuple[int, ...], strata: str, batch: int
) -> None:
    """With plain gradient descent, of everybody or of scanners that take turns, one step and what
    all sites changed is the step of the mean gradient: of networks that are averaged, and of heads
    that are summed. Catches weights by site, a wrong count of the others' samples, and heads that
    move by sites' means, which makes more of a small site."""
    found = []
    for mode, run in (("local", fedavg), ("exact", exact)):
        how = options(mode=mode, steps=1, local_steps=1, batch=batch)
        train = toy(how, summed=True, strata=strata)
        step = {"optimizer": {"name": "sgd", "lr": 0.05}, "period": 1, "offset": 0}
        # Sites' critics differ after their step: the generator's has to be without them.
        apart = {"weights": {"rec": 1.0, "cycle": 0.3, "fool": 0.0}}
        critic, generator = train.updates
        updates = (replace(critic, **step), replace(generator, **step, **apart))
        found.append(run(replace(train, updates=updates), ask(where), SHARED))
    # The last are of spectral norms, which look at each mean anew.
    for name, rest in (("toy.heads", None), ("toy.critic", -3), ("toy.encoder", -H)):
        a, b = (one[name][slice(None, rest)] for one in found)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12, err_msg=name)


def test_networks_are_averaged_by_samples_and_heads_are_their_owners() -> None:
    """Catches an average over owners and strangers, which dilutes a batch by n_i / N, and heads
    that a stranger's fakes move."""
    train = toy(local(steps=4))
    trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
    turn = train.turn(0)
    told = {**SHARED, **trainer.told(turn)}
    sent = {
        name: train_at_site(train, turn, site, told)  # type: ignore[arg-type]
        for name, site in sites_of(WHERE).items()
    }
    result = fedavg(train, ask(), SHARED)
    which = train.turn(0).leaving.index("critic")
    weights = {name: float(one["weight"][which]) for name, one in sent.items()}
    mean = sum(one["critic"] for one in sent.values()) / sum(weights.values())
    before = told["toy.critic"]
    weights_of = slice(None, -3)  # without those of the spectral norm
    np.testing.assert_allclose(
        result["toy.critic"][weights_of], (before + mean)[weights_of], rtol=0, atol=1e-12
    )
    assert len(set(weights.values())) > 1
    for name, one in sent.items():
        own = np.array([f"site {s}" == name for s in WHERE])
        assert (one["heads"][~own] == 0).all()
        assert np.abs(one["heads"][own]).min(axis=1).max() > 0
        moved = result["toy.heads"][own] - told["toy.heads"][own]
        np.testing.assert_allclose(moved, one["heads"][own], rtol=0, atol=1e-12)


def test_summed_heads_move_by_what_all_sites_changed_them_by() -> None:
    """Catches heads that hear of strangers' fakes nowhere, changes times samples, and moments of
    strangers, who see a batch seldom."""
    train = toy(local(steps=4, batch=0), summed=True, strata="")
    trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
    told = {**SHARED, **trainer.told(train.turn(0))}
    sent = {
        name: train_at_site(train, train.turn(0), site, told)  # type: ignore[arg-type]
        for name, site in sites_of(WHERE).items()
    }
    moved = fedavg(train, ask(), SHARED)["toy.heads"] - told["toy.heads"]
    np.testing.assert_allclose(moved, sum(one["heads"] for one in sent.values()), atol=1e-12)
    owners = replace(train, groups=tuple(replace(g, summed=False) for g in train.groups))
    alone = {
        name: train_at_site(owners, train.turn(0), site, told)["heads"]  # type: ignore[arg-type]
        for name, site in sites_of(WHERE).items()
    }
    for name, one in sent.items():
        own = np.array([f"site {s}" == name for s in WHERE])
        # The same share of everybody in every step, which Adam divides by, but for its epsilon.
        np.testing.assert_allclose(one["heads"][own], alone[name][own], rtol=0, atol=1e-4)
        assert np.abs(one["heads"][~own]).min(axis=1).max() > 0
        # Of a first beta of 0 the mean gradient is the next step's gradient, whatever it was.
        assert "heads.exp_avg" not in one
        assert (one["heads.exp_avg_sq"][~own] == 0).all()


def test_a_hospital_reads_whose_part_of_heads_leaves() -> None:
    """Catches 'by samples' said of heads, and 'own batches' of what is everybody's."""
    for summed, whose in ((False, "of own batches"), (True, "of every batch")):
        train = toy(local(), summed=summed)
        said = {spec.name: spec.meaning for spec in train.arrays(train.turn(0))}
        assert said["heads"] == f"heads: change of the parameters {whose}"
        assert said["critic"] == "critic: change of the parameters, by samples"


def test_summed_is_said_of_heads_alone() -> None:
    """Catches networks that would move by as many steps as there are sites."""
    train = toy(local())
    with pytest.raises(PlanError, match="'encoder' is summed over sites and has no batches"):
        replace(train, groups=tuple(replace(g, summed=True) for g in train.groups))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"betas": (0.5, 0.9)}, "first beta"),
        ({"betas": (0.0, 0.9), "weight_decay": 0.1}, "weight decay"),
        ({"name": "adamw", "betas": (0.0, 0.9)}, "weight decay"),
    ],
    ids=str,
)
def test_what_moves_heads_without_a_gradient_is_not_summed(how: dict[str, Any], said: str) -> None:
    """Catches an owner's momentum that every site repeats."""
    train = toy(local(), summed=True)
    updates = tuple(
        replace(u, optimizer={**u.optimizer, **how}) if "heads" in u.groups else u
        for u in train.updates
    )
    with pytest.raises(PlanError, match=said):
        replace(train, updates=updates)


@pytest.mark.parametrize("moments", ["kept", "forgotten"])
def test_summed_heads_need_their_owners_moments(moments: str) -> None:
    """Catches a stranger's rare fakes that count as much as all of the owner's slices."""
    with pytest.raises(PlanError, match=f"moments are {moments}.*averaged"):
        toy(local(moments=moments), summed=True)


def test_moments_are_averaged_kept_or_begin_anew() -> None:
    """Catches an optimizer that forgets in silence, and one that is sent where it should stay."""
    found = {}
    for how in ("averaged", "kept", "forgotten"):
        train = toy(local(moments=how))
        asked = ask()
        found[how] = fedavg(train, asked, SHARED)["toy.critic"]
        names = {spec.name for spec in train.arrays(train.turn(0))}
        assert ("critic.exp_avg" in names) == (how == "averaged")
        kept = {name for site in asked.sites.values() for name in site.keep}
        of_all = {f"toy.{name}" for name in ("critic.exp_avg_sq", "heads.exp_avg_sq", "heads.ran")}
        assert kept & of_all == (of_all if how == "kept" else set())
        assert train.stateless == (how != "kept")
    assert len({array.tobytes() for array in found.values()}) == 3


@pytest.mark.parametrize("moments", ["averaged", "kept"])
def test_one_site_goes_on_as_if_nothing_was_exchanged(moments: str) -> None:
    """Two exchanges of three steps are one of six. Catches moments that are not those with which
    the last step ended, and steps that are counted anew."""
    made, found = case("deepcombat"), []
    for local_steps in (3, 6):
        how = {"preset": "tiny", "mode": "local", "steps": 6, "moments": moments}
        study = replace(made, train={**how, "local_steps": local_steps})
        found.append(direct(study, study.pooled()).shared)
    for name in ("encoder", "decoder", "encoder_batch", "decoder_batch"):
        two, one = (shared[f"cvae.{name}"] for shared in found)
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-12, err_msg=name)


def test_a_group_of_its_own_interval_leaves_more_often() -> None:
    """Catches a critic that is exchanged with the rest, and a rest that is sent with the critic."""
    train = toy(local(local_steps=8), every=2)
    turns = [train.turn(n) for n in range(4)]
    assert [t.leaving for t in turns] == [("critic",)] * 3 + [("critic", "encoder", "heads")]
    assert not train.stateless
    result = fedavg(train, ask(), SHARED)
    assert all(np.isfinite(array).all() for array in result.values())
    assert train.times("critic") == 4
    assert train.times("encoder") == 1


def test_a_group_counts_by_the_samples_since_it_last_left() -> None:
    """Catches weights of a rare exchange that are those of its last steps alone, and a running mean
    that moves by these steps alone."""
    train = toy(local(local_steps=8, batch=9), every=2)
    trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
    sites, seen = sites_of(WHERE), dict[str, np.ndarray]()
    for turn in map(train.turn, range(4)):
        told = {**SHARED, **trainer.told(turn)}
        sent = {
            name: train_at_site(train, turn, site, told)  # type: ignore[arg-type]
            for name, site in sites.items()
        }
        for name, one in sent.items():
            seen[name] = seen.get(name, 0) + one["samples"]
        if turn.number < 3:
            sums = {array: sum(one[array] for one in sent.values()) for array in sent["site 0"]}
            average(trainer, turn, sums)
    critic, generator = (k for k, update in enumerate(train.updates))
    for name, one in sent.items():
        weights = dict(zip(turn.leaving, one["weight"], strict=True))
        assert weights["critic"] == one["samples"][critic]
        assert weights["encoder"] == weights["heads"] == seen[name][generator]
        assert weights["encoder"] != one["samples"][generator]
    first = told["toy.encoder"]
    sums = {array: sum(one[array] for one in sent.values()) for array in sent["site 0"]}
    average(trainer, turn, sums)
    moved = {n: a for n, a in trainer.model().items() if n.startswith("toy.encoder")}
    last = trainer.told(turn)["toy.encoder"]
    length = len(last) - H  # without the vectors of the spectral norm
    weight = sum(float(one["weight"][turn.leaving.index("encoder")]) for one in sent.values())
    changed = sum(one["encoder"] for one in sent.values()) / weight
    np.testing.assert_allclose((last - first)[:length], changed[:length], rtol=0, atol=1e-12)
    mean = first + (1.0 - 0.9**8) * (last - first)
    np.testing.assert_allclose(moved["toy.encoder"][:length], mean[:length], rtol=0, atol=1e-12)


def test_a_local_group_never_leaves_and_is_trained_all_the_same() -> None:
    """Catches a head that is sent, or one that no step moves."""
    for how in (local(), options(steps=6)):
        train = toy(how, keeper="local")
        asked = ask()
        result = (fedavg if how.mode == "local" else exact)(train, asked, SHARED)
        assert "toy.critic" not in result
        kept = [site.keep["toy.critic"] for site in asked.sites.values()]
        assert len({array.tobytes() for array in kept}) == 3
        for number in range(train.exchanges(train.steps(len(BATCH)))):
            names = {s.name.partition(".")[0] for s in train.arrays(train.turn(number))}
            assert "critic" not in names


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("own", [{}, {"lr_of": {"heads": 0.02}}], ids=["", "of heads"])
def test_a_local_rate_makes_steps_of_all_groups_longer(own: dict[str, Any], summed: bool) -> None:
    """Catches a factor that nothing reads, and heads, owned or summed, with a rate of their own or
    without, that do not keep pace with the encoder."""
    moved = {}
    for rate in (1.0, 3.0):
        train = with_sgd(toy(local(steps=1, local_steps=1, local_rate=rate), summed=summed))
        updates = tuple(
            replace(u, optimizer={**u.optimizer, **own}) if "heads" in u.groups else u
            for u in train.updates
        )
        train = replace(train, updates=updates)
        trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
        told = {**SHARED, **trainer.told(train.turn(0))}
        sent = train_at_site(train, train.turn(0), sites_of(WHERE)["site 0"], told)  # type: ignore[arg-type]
        moved[rate] = sent
    # The encoder's last are of the spectral norm.
    for name, chosen in (("encoder", slice(None, -H)), ("heads", slice(None))):
        one, other = (moved[rate][name][chosen] for rate in (1.0, 3.0))
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(other, 3.0 * one, rtol=1e-9, atol=1e-15)


def test_a_local_rate_is_not_of_the_warm_up() -> None:
    """Catches exact steps that are longer, too: where local steps have no rate, nothing differs."""

    def still(moment: Any) -> float:
        return 1.0 if moment.step < 4 else 0.0

    found = []
    for rate in (1.0, 3.0):
        train = toy(local(steps=4, warm_up=4, local_rate=rate))
        updates = tuple(replace(update, rate=still) for update in train.updates)
        found.append(fedavg(replace(train, updates=updates), ask(), SHARED))
    for name, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][name])


def test_a_warm_up_is_exact_mode() -> None:
    """Catches a warm-up whose steps are counted again, or whose moments are lost."""
    train = toy(local(steps=8, warm_up=4))
    turns = [train.turn(n) for n in range(train.exchanges(train.steps(len(BATCH))))]
    assert [t.exact for t in turns] == [True] * 6 + [False]
    assert (turns[-1].first, turns[-1].after) == (4, 8)
    warm = replace(train, options=local(steps=5, warm_up=4))
    assert warm.steps(len(BATCH)) == 8
    states: list[Any] = []
    trainer = Trainer(warm, sizes=SIZES, seed=3, samples=len(BATCH))
    asked = ask()
    for turn in turns[:6]:
        told = {**SHARED, **trainer.told(turn)}
        sent = [train_at_site(warm, turn, s, told) for s in asked.sites.values()]
        count = sum(int(one["samples"][0]) for one in sent)
        trainer.step(turn, {n: sum(one[n] for one in sent) / count for n in turn.leaving})
        states.append(trainer.told(turn))
    assert set(states[-1]) > {"toy.critic.exp_avg", "toy.encoder.exp_avg_sq"}
    moments = [state["toy.encoder.exp_avg"] for state in states]
    assert np.abs(moments[-1] - moments[0]).max() > 0  # what the first local step goes on from


def test_what_leaves_is_what_is_declared_and_knows_no_number_of_people() -> None:
    """Catches an array beyond the declaration in any turn of any mode."""
    for how in (options(validation=0.2), local(validation=0.2), local(moments="kept", warm_up=2)):
        train = toy(how)
        steps = train.steps(train.trained_of(len(BATCH)))
        trainer = Trainer(train, sizes=SIZES, seed=3, samples=len(BATCH))
        turns = [train.turn(n) for n in range(train.exchanges(steps))] + [train.closing(steps)]
        for turn in turns if how.validation else turns[:-1]:
            site = sites_of(WHERE)["site 1"]
            sent = train_at_site(train, turn, site, {**SHARED, **trainer.told(turn)})  # type: ignore[arg-type]
            declared = {s.name: (bind(s.shape, SIZES), s.dtype) for s in train.arrays(turn)}
            assert {n: (a.shape, a.dtype.name) for n, a in sent.items()} == declared
            for name, (shape, _) in declared.items():
                assert name in {s.name for s in train.releases}
                assert 4 not in shape or name.startswith("heads")


@pytest.mark.parametrize("transfer", ["float32", "bfloat16"])
def test_what_is_sent_rounded_is_near(transfer: str) -> None:
    """Catches bits that are added as integers, and a rounding of the networks instead of what
    they changed by."""
    fine = fedavg(toy(local()), ask(), SHARED)["toy.critic"]
    coarse = fedavg(toy(local(transfer=transfer)), ask(), SHARED)["toy.critic"]
    first = Trainer(toy(local()), sizes=SIZES, seed=3, samples=len(BATCH)).model()["toy.critic"]
    bits = {"float32": 2.0**-24, "bfloat16": 2.0**-8}[transfer]
    worst = np.abs(coarse - fine).max() / np.abs(fine - first).max()
    assert 0 < worst < 30 * bits

"""Sums that nobody reads by site: every method comes to the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from scipy import stats

from conformance import brains
from conformance.cases import BATTERY, battery_id
from conformance.federation import Answer, Federation
from conformance.ledgers import released
from conformance.masked import SITES, N, ran, secure, spread
from motet.config import Privacy
from motet.evaluation.result import Judgement
from motet.flower.records import Body, Envelope, decode
from motet.phases import Sum


@pytest.mark.parametrize(("method", "options"), BATTERY, ids=battery_id)
@pytest.mark.parametrize(("missing", "by_batch"), [(0.0, True), (0.1, False)])
def test_as_without_masks(
    method: str, options: dict[str, Any], missing: float, by_batch: bool
) -> None:
    """Catches a bound that real sums exceed, a scale that loses digits, and an array that lacks
    a bound: in harmonized values as in what the evaluation says."""
    judged = {"metrics": "summed", "held_out": 0.3, "by_batch": by_batch}
    study = secure(method, options, missing=missing, evaluation=judged)
    sites, outcome = ran(study)
    assert not outcome.missing, (outcome.missing, sites.errors)
    assert outcome.plan.secure
    plain, expected = ran(replace(study, secure=False))
    assert not expected.plan.secure
    sd = spread(study.values)
    assert np.nanmax(np.abs(sites.values - plain.values) / sd) < 1e-9
    for name, array in expected.shared.items():
        np.testing.assert_allclose(outcome.shared[name], array, rtol=1e-8, err_msg=name)
    assert outcome.judgement is not None, sites.errors
    assert expected.judgement is not None
    same_figures(outcome.judgement, expected.judgement)
    assert outcome.judgement.has("site_accuracy_lda") is by_batch
    known = [batch["fit"] is not None for batch in outcome.batches]
    assert known == [by_batch] * len(known)


@pytest.mark.parametrize("server", ["fedavg", "scaffold"])
def test_local_mode_as_without_masks(server: str) -> None:
    """Catches networks, moments, control variates or lengths of changes that exceed the bound of a
    masked sum, or are rounded by it until a training goes elsewhere."""
    train = {"preset": "tiny", "mode": "local", "local_steps": 2, "steps": 8, "batch": 12}
    further = {"extrapolate": server == "scaffold"}
    study = replace(secure("deepcombat"), train={**train, "server": server, **further})
    sites, outcome = ran(study)
    assert not outcome.missing, (outcome.missing, sites.errors)
    assert outcome.plan.secure
    leaving = {release.spec.name for release in outcome.plan.releases()}
    assert {"decoder.control", "squares"} <= leaving or server == "fedavg"
    assert not leaving & {"decoder.control", "squares"} or server == "scaffold"
    plain, _ = ran(replace(study, secure=False))
    assert np.abs((sites.values - plain.values) / spread(study.values)).max() < 1e-6


def same_figures(judgement: Judgement, expected: Judgement) -> None:
    for one, other in zip(judgement.metrics, expected.metrics, strict=True):
        assert one.name == other.name
        for version, reading in other.readings.items():
            found, value = one.readings[version].value, reading.value
            assert (found is None) is (value is None), (one.name, version)
            if value is not None:
                assert found == pytest.approx(value, rel=1e-6, abs=1e-9), (one.name, version)


def test_many_features_far_from_zero() -> None:
    """Catches sums of fourth powers that have no digits left beside their bound."""
    judged = {"metrics": "summed", "held_out": 0.3, "by_batch": True}
    study = secure(p=120, evaluation=judged)
    study = replace(study, values=study.values + 1000 * spread(study.values))
    _, outcome = ran(study)
    _, expected = ran(replace(study, secure=False))
    assert outcome.judgement is not None
    assert expected.judgement is not None
    same_figures(outcome.judgement, expected.judgement)


@pytest.mark.parametrize(
    ("method", "options"),
    [c for c in brains.BATTERY if str(c.id).endswith(("default", "covariates", "subspace"))],
)
def test_images_as_without_masks(
    method: str, options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Catches the same for voxels, whose bound is the brightest of all."""
    paired = "paired" if method in brains.PAIRED else "plain"
    folder = tmp_path_factory.getbasetemp() / f"secure-brains-{paired}"
    if not folder.exists():
        brains.written(folder, method, batches=brains.BATCHES)
    judged = {"metrics": "summed", "held_out": 0.2, "by_batch": True}
    study = brains.study_of(method, options, **judged)
    tables = brains.sites(brains.opened(folder, study), {"b0": "x", "b1": "y", "b2": "z"})
    masked = study.model_copy(update={"privacy": Privacy(secure_sum=True)})
    result, volumes = brains.run(masked, tables)
    plain, expected = brains.run(study, tables)
    assert result.plan.secure
    same_figures(result.judgements["sums"], plain.judgements["sums"])
    for person, volume in expected.items():
        scale = float(np.std(volume))
        assert np.abs(volumes[person] - volume).max() < 1e-6 * scale, person


def test_thickness_beside_volumes() -> None:
    """Catches a scale for a whole table: 2 mm beside five million cubic millimetres."""
    study = secure(p=6)
    rng = np.random.default_rng(5)
    thickness = 2.4 + 0.15 * rng.standard_normal((sum(N), 3))
    volumes = 5e6 * (1 + 0.08 * rng.standard_normal((sum(N), 3)))
    age = study.covariates["age"].to_numpy()[:, None]
    values = np.hstack([thickness - 0.003 * age, volumes - 4000.0 * age])
    study = replace(study, values=values)
    sites, outcome = ran(study)
    plain, _ = ran(replace(study, secure=False))
    apart = np.abs(sites.values - plain.values) / spread(values)
    assert outcome.plan.secure
    assert apart.max() < 1e-9, apart.max(axis=0)


def test_the_coordinator_gets_numbers_that_say_nothing() -> None:
    """Catches an array that goes out as it is, or behind a mask that is not uniform."""
    study = secure(p=2000, covariates=("age",))
    sites, outcome = ran(study)
    seen = np.zeros(0, dtype=np.uint8)
    for sent in sites.sent:
        if sent.action == "train.phase":
            _, body = decode(sent.reply.content)
            assert {array.dtype.name for array in body.arrays.values()} == {"uint64", "uint32"}
            each = [array.reshape(-1).view(np.uint8) for array in body.arrays.values()]
            seen = np.concatenate([seen, *each])
    assert len(seen) > 200_000
    assert stats.chisquare(np.bincount(seen, minlength=256)).pvalue > 0.01
    assert {r["class"] for r in outcome.received if r["phase"] == "moments"} == {"masked"}


def test_what_stands_in_the_ledger(tmp_path: Path) -> None:
    """Catches masks that come off without a word of it, and a release whose sum is not named."""
    ran(secure(), folder=tmp_path)
    (release,) = [r for r in released(tmp_path / SITES[0]) if r["phase"] == "moments"]
    (reveal,) = released(tmp_path / SITES[0], kind="reveal")
    assert release["circle"] == reveal["circle"]
    assert sorted(reveal["salts"]) == list(SITES)
    assert {a["dtype"] for a in release["arrays"]} == {"uint64", "uint32"}


def test_every_sum_of_a_method_has_bounds() -> None:
    """Catches a registered method that cannot be summed where nobody reads single sites."""
    from kernel.plans.catalog import SCHEMA
    from motet.plan import build_plan
    from motet.registry import methods

    for name in methods().names():
        card = methods().get(name).card
        study = (
            brains.study_of(name, {}) if "images" in card.data else secure(name).study
        ).model_copy(update={"privacy": Privacy(secure_sum=True)})
        schema = replace(SCHEMA, grid=(4.0, 4.0, 4.0)) if "registered" in card.data else SCHEMA
        everywhere = tuple((key, schema.sites) for key in study.params.get("travelers", ()))
        plan = build_plan(study, replace(schema, holders=everywhere))
        for phase in plan.phases:
            assert not isinstance(phase, Sum) or phase.read_by == "holders" or plan.masks(phase)


def test_a_crash_between_writing_down_and_sending(tmp_path: Path) -> None:
    """Catches a site that masks anew when its process died with the release in the ledger: the
    same numbers behind other masks, or other numbers behind the same."""
    study = secure()
    sites = Federation(study, folder=tmp_path)
    requests: list[tuple[Envelope, Body]] = []
    asked: dict[str, Any] = {}

    def keep(request: Message, answer: Answer) -> Message:
        envelope, body = decode(request.content)
        action = str(request.metadata.message_type)
        asked[action.removeprefix("query.")] = body.document
        if action == "train.phase":
            requests.append((envelope, body))
        return answer()

    sites._alter[SITES[0]] = keep
    sites.run()
    envelope, body = requests[0]
    again = Federation(study, folder=tmp_path).workers[SITES[0]]
    again.take_up(asked["agree"], asked["prepare"], envelope.plan, envelope.phase)
    arrays, beside = again.planned(envelope.plan).masked(
        envelope.phase, body.arrays, run=envelope.run, keys=body.document["keys"]
    )
    sent = next(s for s in sites.sent if s.site == SITES[0] and s.action == "train.phase")
    _, first = decode(sent.reply.content)
    assert {n: a.tobytes() for n, a in arrays.items()} == {
        n: a.tobytes() for n, a in first.arrays.items()
    }
    assert beside == first.document["masked"]
    one, other = [r for r in released(tmp_path / SITES[0]) if r["phase"] == "moments"]
    assert one == other

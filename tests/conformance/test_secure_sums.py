"""Sums that nobody reads by site: every method comes to the same, and what goes wrong stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from scipy import stats

from conformance import brains
from conformance.cases import BATTERY, Case, battery_id, case
from conformance.direct import direct
from conformance.federation import Alter, Answer, Federation
from conformance.hostile import Reply, on
from conformance.ledgers import released
from motet.client.policy import OPEN, SitePolicy
from motet.config import Privacy
from motet.errors import QuorumError, SchemaError, SecureSumError, SubtractionError
from motet.evaluation.result import Judgement
from motet.flower.records import Body, Envelope, decode, encode, refusal
from motet.phases import Sum
from motet.server import Outcome
from motet.server.events import Kind

N = (14, 12, 13, 16)
SITES = tuple(f"site-b{k}" for k in range(len(N)))
SHY = OPEN.model_copy(update={"plain_sums": False})


def secure(method: str = "combat", options: Mapping[str, Any] | None = None, **made: Any) -> Case:
    evaluation = made.pop("evaluation", {"metrics": "none"})
    study = case(method, options, **{"n": N, "p": 5, **made})
    return replace(study, secure=None, evaluation=evaluation)


def ran(study: Case, **options: Any) -> tuple[Federation, Outcome]:
    sites = Federation(study, **options)
    return sites, sites.run()


def spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation of every feature, (p,)."""
    return np.asarray(np.nanstd(values, axis=0))


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
    folder = tmp_path_factory.getbasetemp() / "secure-brains"
    if not folder.exists():
        brains.write_brains(folder, batches=brains.BATCHES)
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


def refusing(code: str) -> Reply:
    return lambda request, envelope, body: refusal(envelope, code)


def test_one_that_says_nothing_of_masks() -> None:
    """Catches a sum that waits for everybody: three of four are enough to take masks off."""
    study = secure()
    honest, expected = ran(study)
    sites, outcome = ran(study, alter={SITES[1]: on("query.reveal", refusing("site-failed"))})
    assert not outcome.missing
    for name, array in expected.shared.items():
        assert outcome.shared[name].tobytes() == array.tobytes()
    assert np.array_equal(sites.values, honest.values)


def test_two_that_say_nothing_of_masks() -> None:
    """Catches masks that come off with the help of too few."""
    quiet = on("query.reveal", refusing("site-failed"))
    sites = Federation(secure(), alter={SITES[1]: quiet, SITES[2]: quiet}, policies=all_shy())
    with pytest.raises(SubtractionError, match="was lost after a sum"):
        sites.run()


def all_shy(policy: SitePolicy = SHY) -> dict[str, SitePolicy]:
    return dict.fromkeys(SITES, policy)


def test_one_that_is_lost_before_anything_is_read() -> None:
    """Catches masks that come off for a sum which is not used: the study starts over."""
    study = secure()
    sites = Federation(
        study, alter={SITES[3]: on("train.phase", refusing("site-failed"))}, policies=all_shy()
    )
    outcome = sites.run()
    assert outcome.missing == {SITES[3]: "site-failed"}
    tables = {site: table for site, table in study.tables().items() if site != SITES[3]}
    expected = direct(replace(study, secure=False), tables)
    for name, array in expected.shared.items():
        np.testing.assert_allclose(outcome.shared[name], array, rtol=1e-8, err_msg=name)
    assert {site for site, _ in sites.asked("query.reveal")} == set(SITES[:3])


LATER = {"reference": "b3"}
"""A phase after the sum, at one site."""


def lost_later(policy: SitePolicy) -> Federation:
    study = secure(options={**LATER}, missing=0.1)
    failing: Alter = after("moments_of_incomplete", refusing("site-failed"))
    return Federation(study, alter={SITES[1]: failing}, policies=all_shy(policy))


def after(path: str, reply: Reply) -> Alter:
    """Answer honestly but to one phase."""

    def alter(request: Message, answer: Answer) -> Message:
        envelope, body = decode(request.content)
        if envelope.phase != path or request.metadata.message_type != "train.phase":
            return answer()
        return Message(reply(request, envelope, body), reply_to=request)

    return alter


def test_one_that_is_lost_after_a_sum_was_read() -> None:
    """Catches a study that goes on without it: the two sums differ by its own."""
    with pytest.raises(SubtractionError, match="site-b1 was lost after a sum"):
        lost_later(SHY).run()
    outcome = lost_later(OPEN).run()
    assert outcome.missing == {SITES[1]: "site-failed"}


def test_the_sites_themselves_see_to_it(tmp_path: Path) -> None:
    """Catches a coordinator that asks for the same sum without one site, in a study of its own."""
    study = secure()
    ran(study, folder=tmp_path, policies=all_shy())
    fewer = {site: table for site, table in study.tables().items() if site != SITES[2]}
    sites = Federation(study, fewer, folder=tmp_path, policies=all_shy())
    with pytest.raises(SubtractionError, match="Nothing was read"):
        sites.run()
    assert "those of site-b2" in str(sites.errors[0][1])
    assert not [r for r in released(tmp_path / SITES[0], kind="reveal") if len(r["salts"]) == 3]
    # Where that site does not mind, or did not when it took part, nothing stands against it.
    outcome = Federation(study, fewer, folder=tmp_path / "other", policies=all_shy()).run()
    assert not outcome.missing


def test_two_of_three_are_not_masked_for_a_shy_site() -> None:
    """Catches a coordinator that loses sites until two are left, whose sums it could read."""
    study = secure(n=N[:3])
    policies = dict.fromkeys(SITES[:3], SHY)
    failing = on("train.phase", refusing("site-failed"))
    sites = Federation(study, alter={SITES[0]: failing}, policies=policies)
    with pytest.raises(QuorumError, match="policy"):
        sites.run()
    revealed = [s for s in sites.sent if s.action == "query.reveal"]
    assert not revealed
    assert {type(error).__name__ for _, error in sites.errors} == {"PolicyError"}


class Meddling(Federation):
    """A coordinator that changes what it asks of one site."""

    def __init__(self, study: Case, action: str, change: Any, **options: Any) -> None:
        super().__init__(study, **options)
        self._action, self._change = action, change

    def _app(self, site: str, inner: Any) -> Any:
        def meddled(message: Message, context: Any) -> Message:
            if site == SITES[0] and message.metadata.message_type == self._action:
                envelope, body = decode(message.content)
                message.content = self._change(envelope, body)
            return inner(message, context)

        return super()._app(site, meddled)


def without_keys(envelope: Envelope, body: Body) -> RecordDict:
    return encode(envelope, Body(arrays=body.arrays))


def other_key(envelope: Envelope, body: Body) -> RecordDict:
    keys = {**body.document["keys"], SITES[0]: "ab" * 32}
    return encode(envelope, Body(document={"keys": keys}, arrays=body.arrays))


def fewer_members(envelope: Envelope, body: Body) -> RecordDict:
    keys = {site: key for site, key in body.document["keys"].items() if site != SITES[3]}
    return encode(envelope, Body(document={"keys": keys}, arrays=body.arrays))


def a_stranger(envelope: Envelope, body: Body) -> RecordDict:
    keys = {**body.document["keys"], "mallory": "ab" * 32}
    return encode(envelope, Body(document={"keys": keys}, arrays=body.arrays))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (without_keys, "protocol"),
        (other_key, "secure-sum"),
        (fewer_members, "secure-sum"),
        (a_stranger, "secure-sum"),
    ],
)
def test_a_coordinator_that_asks_for_another_sum(change: Any, code: str) -> None:
    """Catches a site that answers plainly what its plan masks, or sums with whomever."""
    sites = Meddling(secure(), "train.phase", change, policies=all_shy())
    outcome = sites.run()
    assert outcome.missing == {SITES[0]: code}


def test_other_survivors_for_the_same_sum(tmp_path: Path) -> None:
    """Catches masks that come off twice: for all, and for all but one."""
    study = secure()
    asked: list[tuple[Envelope, Body]] = []

    def keep(envelope: Envelope, body: Body) -> RecordDict:
        asked.append((envelope, body))
        return encode(envelope, body)

    sites = Meddling(study, "query.reveal", keep, folder=tmp_path, policies=all_shy())
    sites.run()
    envelope, body = asked[0]
    planned = sites.workers[SITES[0]].planned(envelope.plan)
    again = {"run": envelope.run, "path": envelope.phase}
    first = planned.reveal(document=body.document, **again)
    assert planned.reveal(document=body.document, **again) == first
    sealed = {site: one for site, one in body.document["sealed"].items() if site != SITES[2]}
    with pytest.raises(SecureSumError, match="asks for the masks of"):
        planned.reveal(document={**body.document, "sealed": sealed}, **again)
    salted = {
        **body.document["sealed"],
        SITES[2]: ["ab" * 16, *body.document["sealed"][SITES[2]][1:]],
    }
    with pytest.raises(SecureSumError, match="for other numbers"):
        planned.reveal(document={**body.document, "sealed": salted}, **again)


def garbage(request: Message, envelope: Envelope, body: Body) -> RecordDict:
    rng = np.random.default_rng(7)
    arrays = {
        name: rng.integers(0, 2 ** (8 * array.itemsize), array.shape, dtype=array.dtype)
        for name, array in body.arrays.items()
    }
    return encode(envelope, Body(document=body.document, arrays=arrays))


def test_a_site_that_sends_what_is_no_part_of_the_sum() -> None:
    """Catches a model that is made of what masks have left."""
    sites = Federation(secure(), alter={SITES[1]: on("train.phase", garbage)})
    with pytest.raises(SecureSumError, match="do not come off"):
        sites.run()


def beside(**changes: Any) -> Reply:
    def change(request: Message, envelope: Envelope, body: Body) -> RecordDict:
        document = {**body.document, "masked": {**body.document["masked"], **changes}}
        return encode(envelope, Body(document=document, arrays=body.arrays))

    return change


@pytest.mark.parametrize(
    "reply",
    [
        beside(salt="ab"),
        beside(salt=None),
        beside(sealed={}),
        beside(sealed=dict.fromkeys(SITES, "AAAA")),
        beside(committed=dict.fromkeys(SITES, "zz" * 32)),
        lambda request, envelope, body: encode(envelope, Body(arrays=body.arrays)),
    ],
    ids=["salt", "no-salt", "no-seals", "short-seals", "no-hex", "nothing"],
)
def test_a_masked_reply_that_is_none(reply: Reply) -> None:
    """Catches a coordinator that stumbles over one site's words: the others go on without it."""
    _, outcome = ran(secure(), alter={SITES[1]: on("train.phase", reply)})
    assert outcome.missing == {SITES[1]: "invalid-reply"}


def test_a_number_beyond_what_the_site_said_of_itself(tmp_path: Path) -> None:
    """Catches an entry that runs over the ring: it would take the room of everybody's sum."""
    study = secure()
    tables = dict(study.tables())
    table = tables[SITES[0]]
    assert table.described.scale is not None
    small = replace(table.described.scale, features=(-60,) * 5)
    tables[SITES[0]] = replace(table, described=replace(table.described, scale=small))
    large = {
        site: replace(t, described=replace(t.described, scale=small)) for site, t in tables.items()
    }
    sites = Federation(study, large, folder=tmp_path)
    with pytest.raises(QuorumError, match="release-refused"):
        sites.run()
    (refused, *_) = released(tmp_path / SITES[0], kind="refusal")
    assert "beyond its public bound" in refused["why"][0]
    assert not [r for r in released(tmp_path / SITES[0]) if r["phase"] == "moments"]


def test_a_site_lost_while_it_is_judged() -> None:
    """Catches an evaluation that starts over without it, and a model that is lost with it."""
    study = secure(evaluation={"metrics": "summed", "held_out": 0.3})
    failing = after("evaluation_moments", refusing("site-failed"))
    for policy, judged in ((SHY, False), (OPEN, True)):
        sites = Federation(study, alter={SITES[1]: failing}, policies=all_shy(policy))
        outcome = sites.run()
        assert not outcome.missing
        assert (outcome.judgement is not None) is judged
        assert outcome.unjudged == {SITES[1]: "site-failed"}
        told = [e.code for e in sites.events if e.kind is Kind.UNJUDGED]
        assert ("subtraction" in told) is not judged


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
        plan = build_plan(study, schema)
        for phase in plan.phases:
            assert not isinstance(phase, Sum) or plan.masks(phase)


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


def test_what_leverage_and_counts_refuse_is_refused_behind_masks(tmp_path: Path) -> None:
    """Catches a policy that is asked for plain sums only: what is summed over few people is theirs
    when the sums of others are known."""
    study = secure(n=(4, 12, 13, 16))
    strict = SitePolicy(smallest_cell=1, leverage=1.0)
    sites = Federation(study, folder=tmp_path, policies=dict.fromkeys(SITES, strict))
    outcome = sites.run()
    assert outcome.missing == {SITES[0]: "policy"}
    (refused,) = released(tmp_path / SITES[0], kind="refusal")
    assert "4 people, fewer than 10" in refused["why"][0]


@pytest.mark.parametrize(
    "changes",
    [
        {"covariates": ("age",)},
        {"evaluation": {"metrics": "summed", "held_out": 0.3}},
        {"options": {"adjust": "location"}},
        {"seed": 0},
    ],
    ids=["other covariates", "other evaluation", "other options", "the same"],
)
def test_another_study_of_the_same_people(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Catches a sum without one site that passes for new since the study is another: what is
    summed of these people is the same."""
    people = OPEN.model_copy(update={"plain_sums": False, "changed_by": 2})
    ran(secure(), folder=tmp_path, policies=all_shy(people))
    other = secure(**changes)
    fewer = {site: table for site, table in other.tables().items() if site != SITES[2]}
    sites = Federation(other, fewer, folder=tmp_path, policies=all_shy(people))
    with pytest.raises(SubtractionError, match="Nothing was read"):
        sites.run()
    assert any("those of site-b2" in str(error) for _, error in sites.errors)


def test_other_people_are_other_equations(tmp_path: Path) -> None:
    """Catches a consortium that can never grow: sums of others give nobody away."""
    people = OPEN.model_copy(update={"plain_sums": False, "changed_by": 5, "smallest_n": 2})
    ran(secure(), folder=tmp_path, policies=all_shy(people))
    later = {
        site: replace(table, people=np.array([f"later-{who}" for who in table.people]))
        for site, table in secure().tables().items()
        if site != SITES[2]
    }
    outcome = Federation(secure(), later, folder=tmp_path, policies=all_shy(people)).run()
    assert not outcome.missing


def test_one_that_is_lost_while_it_harmonizes() -> None:
    """Catches an evaluation over the others: with the sums of the fit, it gives this one's."""
    study = secure(evaluation={"metrics": "summed"})
    failing = on("query.finish", refusing("site-failed"))
    for policy, judged in ((SHY, False), (OPEN, True)):
        sites = Federation(study, alter={SITES[1]: failing}, policies=all_shy(policy))
        outcome = sites.run()
        assert outcome.missing == {SITES[1]: "site-failed"}
        assert (outcome.judgement is not None) is judged


def test_rows_of_single_batches_are_asked_for() -> None:
    """Catches a batch's means in a masked sum, where a site's own sums may not be read."""
    judged = {"metrics": "summed", "held_out": 0.3}
    outcome = Federation(secure(evaluation=judged), policies=all_shy()).run()
    assert outcome.judgement is not None
    specs = [spec for phase in outcome.plan.phases for spec in phase.releases]
    assert not [spec.name for spec in specs if {"judged", "batches"} & set(spec.shape)]
    asked = Federation(secure(evaluation={**judged, "by_batch": True}), policies=all_shy())
    with pytest.raises(QuorumError, match="policy"):
        asked.run()
    assert "evaluation_probes" in str(asked.errors[0][1])


def test_a_scale_that_the_site_did_not_tell() -> None:
    """Catches a coordinator that finds out how large a sum is by what is refused."""

    def smaller(envelope: Envelope, body: Body) -> RecordDict:
        schema = {**body.document["schema"]}
        scale = schema["scale"]
        schema["scale"] = {**scale, "features": [power - 1 for power in scale["features"]]}
        return encode(envelope, Body(document={**body.document, "schema": schema}))

    outcome = Meddling(secure(), "query.prepare", smaller, policies=all_shy()).run()
    assert outcome.missing == {SITES[0]: "protocol"}


def test_a_slip_of_the_pen() -> None:
    """Catches one cell of 10^18 that leaves no digits to anybody's sums, and nobody a word."""
    study = secure()
    values = study.values.copy()
    row = int(np.flatnonzero(study.batch == "b1")[0])
    values[row, 2] = 1e18
    with pytest.raises(SchemaError, match="f2") as error:
        ran(replace(study, values=values))
    assert error.value.where["site"] == SITES[1]

"""A coordinator or a site that does not keep to a secure sum."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict

from conformance.federation import Federation, Meddling
from conformance.hostile import Reply, on
from conformance.ledgers import released
from conformance.masked import SITES, all_shy, ran, secure
from motet.client.policy import SitePolicy
from motet.errors import QuorumError, SchemaError, SecureSumError
from motet.flower.records import Body, Envelope, encode


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
    sites = Meddling(
        secure(), site=SITES[0], action="train.phase", change=change, policies=all_shy()
    )
    outcome = sites.run()
    assert outcome.missing == {SITES[0]: code}


def test_other_survivors_for_the_same_sum(tmp_path: Path) -> None:
    """Catches masks that come off twice: for all, and for all but one."""
    study = secure()
    asked: list[tuple[Envelope, Body]] = []

    def keep(envelope: Envelope, body: Body) -> RecordDict:
        asked.append((envelope, body))
        return encode(envelope, body)

    sites = Meddling(
        study,
        site=SITES[0],
        action="query.reveal",
        change=keep,
        folder=tmp_path,
        policies=all_shy(),
    )
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

    outcome = Meddling(
        secure(), site=SITES[0], action="query.prepare", change=smaller, policies=all_shy()
    ).run()
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

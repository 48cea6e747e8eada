"""No number leaves a site before the coordinator has countersigned the entry that it left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Message, RecordDict

from conformance.cases import Case, case
from conformance.federation import Federation, Meddling
from conformance.hostile import on
from conformance.ledgers import released
from conformance.masked import SITES, all_shy, refusing, secure
from motet.errors import SecureSumError, SubtractionError
from motet.flower.records import Body, Envelope, decode, encode, refusal
from motet.ledger import Ledger
from motet.ledger.verify import signed
from motet.secure.circle import Circle, what_is_summed
from motet.secure.total import total
from motet.secure.wire import read_keys, read_masked, read_revealed
from motet.server.anchors import Anchors
from motet.store import bytes_hash

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
PLAIN = case(options={"reference": "b1"}, n=(12, 12, 12), covariates=("age",), p=4, missing=0.1)
VICTIM = SITES[0]


def anchored(folder: Path) -> dict[str, Any]:
    """What makes a federation one whose ledgers are countersigned."""
    anchors = Anchors(KEY, folder / "anchors")
    return {"folder": folder, "anchors": anchors, "countersigned_by": PUBLIC}


def book_of(site: str, folder: Path) -> Ledger:
    return Ledger(folder / site / "ledger.sqlite", site=site)


def by(key: Ed25519PrivateKey, site: str, number: int, head: str) -> dict[str, Any]:
    signature = key.sign(signed(site, number, head)).hex()
    return {"number": number, "head": head, "signature": signature}


Forgery = Callable[[dict[str, Any], Path], Any]
FORGED: dict[str, Forgery] = {
    "nothing": lambda own, folder: None,
    "no-signature": lambda own, folder: {**own, "signature": "00" * 64},
    "no-words": lambda own, folder: {**own, "signature": 7},
    "other-key": lambda own, folder: by(
        Ed25519PrivateKey.generate(), VICTIM, own["number"], own["head"]
    ),
    "other-site": lambda own, folder: by(KEY, SITES[1], own["number"], own["head"]),
    "earlier": lambda own, folder: by(
        KEY, VICTIM, own["number"] - 1, book_of(VICTIM, folder).hash_of(own["number"] - 1)
    ),
    "later": lambda own, folder: by(KEY, VICTIM, own["number"] + 1, own["head"]),
    "other-head": lambda own, folder: by(KEY, VICTIM, own["number"], "ab" * 32),
}


def sent(sites: Federation, action: str, site: str = VICTIM) -> list[Body]:
    """What a site replied to one kind of message."""
    replies = [one for one in sites.sent if (one.site, one.action) == (site, action)]
    return [decode(one.reply.content)[1] for one in replies]


def covered(folder: Path) -> list[int]:
    """The victim's releases of numbers that were countersigned."""
    book = book_of(VICTIM, folder)
    anchored_to = max((entry.body["number"] for entry in book.entries("anchor")), default=0)
    entries = book.entries("release")
    return [e.number for e in entries if "run" in e.body and e.number <= anchored_to]


@pytest.mark.parametrize("forged", FORGED)
def test_plain_sums_without_a_countersignature(forged: str, tmp_path: Path) -> None:
    """Catches a site that sends its sums to a coordinator which has not signed their entry, or has
    signed something else."""

    def change(envelope: Envelope, body: Body) -> RecordDict:
        return encode(envelope, Body(document=FORGED[forged](body.document, tmp_path)))

    sites = Meddling(
        PLAIN, site=VICTIM, action="query.release", change=change, **anchored(tmp_path)
    )
    outcome = sites.run()
    assert outcome.missing == {VICTIM: "not-countersigned"}
    assert not [body for body in sent(sites, "train.phase") if body.arrays]
    assert not [body for body in sent(sites, "query.release") if body.arrays]
    assert covered(tmp_path) == []
    # The others had what they asked for.
    assert [body for body in sent(sites, "query.release", SITES[1]) if body.arrays]


@pytest.mark.parametrize("forged", ["nothing", "other-key", "earlier"])
def test_masks_without_a_countersignature(forged: str, tmp_path: Path) -> None:
    """Catches masks that come off a sum of which one site has no signature: by its own word, or
    because the others' are enough."""

    def change(envelope: Envelope, body: Body) -> RecordDict:
        own = FORGED[forged](body.document["countersigned"], tmp_path)
        return encode(envelope, Body(document={**body.document, "countersigned": own}))

    sites = Meddling(
        secure(),
        site=VICTIM,
        action="query.reveal",
        change=change,
        policies=all_shy(),
        **anchored(tmp_path),
    )
    with pytest.raises(SubtractionError):
        sites.run()
    assert "not-countersigned" in {getattr(error, "code", "") for _, error in sites.errors}
    assert released(tmp_path / VICTIM, kind="reveal") == []
    assert covered(tmp_path) == []
    assert not [body for body in sent(sites, "query.reveal") if body.document]


@pytest.mark.parametrize("waits", [False, True])
def test_a_coordinator_that_leaves_one_site_out(waits: bool, tmp_path: Path) -> None:
    """Catches numbers of a site that the words of the others make readable, while it was never
    told that anybody has its entry on record. Without countersignatures three of four are enough.
    """
    study, asked = secure(), []
    told = anchored(tmp_path) if waits else {"folder": tmp_path}

    def look(request: Message, envelope: Envelope, body: Body) -> RecordDict:
        asked.append((envelope, decode(request.content)[1]))
        return encode(envelope, body)

    def silent(request: Message, answer: Any) -> Message:
        if request.metadata.message_type != "query.reveal":
            return answer()
        return Message(refusal(decode(request.content)[0], "timeout"), reply_to=request)

    sites = Federation(
        study,
        alter={SITES[0]: silent, SITES[1]: on("train.phase", look)},
        policies=all_shy(),
        **told,
    )
    if waits:
        with pytest.raises(SubtractionError):
            sites.run()
    else:
        sites.run()
    envelope, body = asked[0]
    planned = sites.workers[SITES[1]].planned(envelope.plan)
    what = what_is_summed(
        run=envelope.run,
        plan=envelope.plan,
        path=envelope.phase,
        shared=bytes_hash(body.arrays, ""),
        schema=planned.plan.schema,
    )
    circle = Circle(what, read_keys(body.document["keys"]))
    masked = {
        site: read_masked(
            (reply := sent(sites, "train.phase", site)[0]).document["masked"], reply.arrays, circle
        )
        for site in SITES
    }
    revealed = {
        site: read_revealed(sent(sites, "query.reveal", site)[0].document["shares"])
        for site in SITES[1:]
    }
    if waits:
        with pytest.raises(SecureSumError, match="do not fit"):
            total(circle, masked, revealed)
    else:
        assert total(circle, masked, revealed)


def exchanges(study: Case, **options: Any) -> tuple[Counter[str], Any, Federation]:
    """How often the first site was asked what, the shared model, and the sites."""
    sites = Federation(study, **options)
    outcome = sites.run()
    assert not outcome.missing, sites.errors
    first = next(iter(sites.tables))
    found = Counter(one.action for one in sites.sent if one.site == first)
    return found, outcome.shared, sites


@pytest.mark.parametrize("study", [PLAIN, secure()], ids=["plain", "secure"])
def test_what_it_costs(study: Case, tmp_path: Path) -> None:
    """Catches a further exchange where none is needed, none where one is, and another result."""
    without, expected, first = exchanges(study, folder=tmp_path / "without")
    found, shared, sites = exchanges(study, **anchored(tmp_path))
    more = Counter({"query.release": without["train.phase"]}) if study is PLAIN else Counter()
    assert found - without == more
    assert without - found == Counter()
    assert {n: a.tobytes() for n, a in shared.items()} == {
        n: a.tobytes() for n, a in expected.items()
    }
    assert np.array_equal(sites.values, first.values, equal_nan=True)
    for site in sites.tables:
        book = book_of(site, tmp_path)
        assert book.problems(key=PUBLIC) == []
        kinds = [entry.body["kind"] for entry in book.entries()][1:]
        # Of what left every entry is followed by the signature, and that by what waited for it.
        assert kinds[:2] == ["release", "anchor"]
        assert kinds.count("release") == found["train.phase"] or site != next(iter(sites.tables))
    # Without the coordinator's key nothing waits, and entries are as they were.
    assert not any("run" in entry for entry in released(tmp_path / "without" / VICTIM))
    assert not list(book_of(VICTIM, tmp_path / "without").entries("anchor"))


def test_a_site_that_says_no_more_is_left_out(tmp_path: Path) -> None:
    """Catches numbers of the others that are asked for though one has not stated its entry, and a
    site that is awaited for ever."""
    for action in ("train.phase", "query.release"):
        folder = tmp_path / action
        sites = Federation(
            PLAIN, alter={SITES[2]: on(action, refusing("site-failed"))}, **anchored(folder)
        )
        outcome = sites.run()
        assert outcome.missing == {SITES[2]: "site-failed"}
        for site in SITES[:2]:
            assert book_of(site, folder).problems(key=PUBLIC) == []


def test_a_site_that_sends_at_once_is_heard(tmp_path: Path) -> None:
    """Catches a coordinator that cannot work with a site whose folder has no ledger key yet."""
    sites = Federation(PLAIN, folder=tmp_path, anchors=Anchors(KEY, tmp_path / "anchors"))
    assert not sites.run().missing
    assert not sites.asked("query.release")


def test_asked_for_what_does_not_wait(tmp_path: Path) -> None:
    """Catches a site that lets go the release of another phase, run or plan."""
    asked: list[tuple[Envelope, Body]] = []

    def keep(envelope: Envelope, body: Body) -> RecordDict:
        asked.append((envelope, body))
        changed = (
            Envelope(**{**vars(envelope), "phase": "another"}) if len(asked) == 2 else envelope
        )
        return encode(changed, body)

    sites = Meddling(PLAIN, site=VICTIM, action="query.release", change=keep, **anchored(tmp_path))
    outcome = sites.run()
    assert outcome.missing == {VICTIM: "protocol"}
    assert "Nothing waits here" in str(sites.errors[0][1])

"""Sums of single travelers: exact to the sites that scanned them, noise to everybody else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Message, RecordDict
from scipy import stats

from conformance.cases import Case, case
from conformance.federation import Federation, Meddling
from conformance.hostile import on
from conformance.ledgers import released
from motet.bids.table import Table
from motet.errors import DesignError, QuorumError
from motet.flower.records import Body, Envelope, decode, encode, refusal
from motet.harmonizer import Card, Params, SiteModel
from motet.phases import Local, Step, Sum, Who
from motet.registry import Registry
from motet.releases import ArraySpec
from motet.server import Outcome
from motet.server.anchors import Anchors

P = 500
HELD = {"t1": ("site-b0", "site-b1", "site-b2"), "t2": ("site-b0", "site-b3"), "t3": ("site-b3",)}
"""Travelers by who scanned them; one was scanned at one site alone."""


class KeyedParams(Params):
    """Whose sums are made."""

    travelers: tuple[str, ...] = ()

    @property
    def keyed(self) -> tuple[str, ...]:
        return self.travelers


ARRAYS = (
    ArraySpec(name="z", shape=("p",), bound=1e5, support="person", meaning="the person's values"),
    ArraySpec(
        name="small", shape=(3,), dtype="float32", bound=2.0, support="person", meaning="thirds"
    ),
    ArraySpec(name="n", shape=(), dtype="int64", least=0, support="person", meaning="scanners"),
)


def send(site: Any, shared: Any) -> Any:
    found = {}
    for key in site.schema.keys_of(site.name):
        row = site.data.people.tolist().index(site.travelers[key])
        values = site.data.block(slice(None))[row]
        third = np.full(3, 1 / 3, dtype=np.float32)
        of = {"z": values, "small": third, "n": np.asarray(1, dtype=np.int64)}
        found |= {f"{key}/{name}": array for name, array in of.items()}
    return found


def conclude(sums: Any, shared: Any) -> Any:
    keys = sorted({name.split("/")[0] for name in sums})
    return {f"mean/{key}": sums[f"{key}/z"] / sums[f"{key}/n"] for key in keys} | {
        f"small/{key}": sums[f"{key}/small"] for key in keys
    }


def used(site: Any, shared: Any) -> None:
    """What was concluded is there in the next phase."""
    site.keep["seen"] = np.asarray(len([name for name in site.keep if name.startswith("mean/")]))


class KeyedMethod:
    """Keeps the mean of every traveler's values over the sites that scanned this person."""

    name: ClassVar[str] = "keyed"
    params_type: ClassVar[type[Params]] = KeyedParams
    card: ClassVar[Card] = Card(
        title="Keyed", summary="Averages travelers.", data="table", papers=(), leaves="sums"
    )

    def plan(self, params: Any, schema: Any) -> Sequence[Step]:
        return (
            Sum(
                name="consensus",
                who=Who(holders="traveler"),
                key="traveler",
                read_by="holders",
                arrays=ARRAYS,
                at_site=send,
                at_coordinator=conclude,
            ),
            Local(name="used", at_site=used),
        )

    def join(self, params: Any, schema: Any) -> Sequence[Step]:
        return ()

    def site_model(self, params: Any, site: Any, shared: Any) -> SiteModel:
        arrays = {name: np.array(site.keep[name]) for name in site.keep}
        return SiteModel(site=site.name, batches=site.batches, arrays=arrays)

    def apply(self, params: Any, data: Any, model: Any, shared: Any, schema: Any) -> Iterator[Any]:
        yield slice(0, len(data)), data.block(slice(None))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    registry.register(KeyedMethod())
    monkeypatch.setattr("motet.registry.methods", lambda: registry)


def study(travelers: Sequence[str] = ("t1", "t2", "t3")) -> Case:
    made = case("keyed", {"travelers": tuple(travelers)}, n=(5, 6, 4, 7), p=P, covariates=())
    return replace(made, values=np.clip(made.values, -1e5, 1e5))


def tables(made: Case, consented: Sequence[str] = ("t1", "t2", "t3")) -> dict[str, Table]:
    """Every site calls its travelers by the first of its own people."""
    found = {}
    for site, table in made.tables().items():
        held = [key for key, sites in HELD.items() if site in sites]
        people = dict(zip(held, table.people.tolist(), strict=False))
        found[site] = replace(
            table, travelers=people, consented=frozenset(set(held) & set(consented))
        )
    return found


def ran(made: Case, **options: Any) -> tuple[Federation, Outcome]:
    sites = Federation(made, tables(made), **options)
    return sites, sites.run()


def values_of(made: Case, site: str, key: str) -> np.ndarray:
    table = tables(made)[site]
    row = table.people.tolist().index(table.travelers[key])
    return np.asarray(table.block(slice(None))[row])


def test_holders_read_the_exact_sum() -> None:
    """Catches a mask that stays in the sum, a holder who gets another key's, and a conclusion
    that reaches somebody else or the shared model."""
    made = study()
    sites, outcome = ran(made)
    assert not outcome.missing, (outcome.missing, sites.errors)
    assert not outcome.shared
    for site, worker in sites.workers.items():
        assert worker.model is not None
        kept = {name: array for name, array in worker.model.arrays.items() if "/" in name}
        mine = [key for key in ("t1", "t2") if site in HELD[key]]
        assert sorted(kept) == sorted(f"{what}/{key}" for key in mine for what in ("mean", "small"))
        assert int(worker.model.arrays["seen"]) == len(mine)
        for key in mine:
            expected = np.mean([values_of(made, s, key) for s in HELD[key]], axis=0)
            np.testing.assert_allclose(kept[f"mean/{key}"], expected, rtol=0, atol=1e-12 * 1e5)
            small = kept[f"small/{key}"]
            np.testing.assert_allclose(small, len(HELD[key]) / 3, rtol=0, atol=1e-7)


def test_all_holders_have_the_same_bits() -> None:
    """Catches a consensus that differs between those who are to agree on it."""
    sites, _ = ran(study())
    first, *others = [sites.workers[site].model for site in HELD["t1"]]
    for other in others:
        assert first is not None
        assert other is not None
        assert other.arrays["mean/t1"].tobytes() == first.arrays["mean/t1"].tobytes()


def test_the_coordinator_stores_noise() -> None:
    """Catches a sum, or a part of one, that the coordinator could read: what it gets and what it
    hands back is uniform."""
    made = study()
    handed: list[dict[str, Any]] = []

    def look(request: Message, envelope: Envelope, body: Body) -> RecordDict:
        _, asked = decode(request.content)
        handed.append({n: a for n, a in asked.arrays.items() if n.startswith("total/")})
        return encode(envelope, body)

    watched = {site: on("query.conclude", look) for site in made.tables()}
    sites, _ = ran(made, alter=watched)
    sent = [
        decode(one.reply.content)[1].arrays for one in sites.sent if one.action == "train.phase"
    ]
    # Every holder of a key is handed the same.
    once = {name: array for arrays in handed for name, array in arrays.items()}
    for seen in (sent, [once]):
        each = [a.reshape(-1).view(np.uint8) for arrays in seen for a in arrays.values()]
        found = np.concatenate(each)
        assert len(found) >= 2 * 8 * P
        assert stats.chisquare(np.bincount(found, minlength=256)).pvalue > 0.01


def test_a_holder_that_is_lost() -> None:
    """Catches a consensus of a part: the study starts over, with the traveler's other holders."""
    made = study()

    def lost(request: Message, envelope: Envelope, body: Body) -> RecordDict:
        return refusal(envelope, "site-failed")

    sites, outcome = ran(made, alter={"site-b2": on("train.phase", lost)})
    assert outcome.missing == {"site-b2": "site-failed"}
    worker = sites.workers["site-b0"]
    assert worker.model is not None
    expected = np.mean([values_of(made, s, "t1") for s in ("site-b0", "site-b1")], axis=0)
    np.testing.assert_allclose(worker.model.arrays["mean/t1"], expected, rtol=0, atol=1e-7)


def test_nobody_without_consent() -> None:
    """Catches a traveler's anatomy that leaves without this person's recorded word."""
    made = study()
    sites = Federation(made, tables(made, consented=("t1",)))
    outcome = sites.run()
    assert not outcome.missing
    worker = sites.workers["site-b3"]
    assert worker.model is not None
    assert not [name for name in worker.model.arrays if "/" in name]
    with pytest.raises(DesignError, match="none was scanned at two"):
        Federation(made, tables(made, consented=())).run()


def test_consent_that_is_gone_by_then() -> None:
    """Catches consent that is asked for when the study is agreed on, and not when it leaves."""
    made = study()
    sites = Federation(made, tables(made))
    worker = sites.workers["site-b3"]
    honest = worker.prepare

    def prepare(document: Any, plan_hash: str) -> Any:
        told = honest(document, plan_hash)
        planned = worker.planned(plan_hash)
        planned.table = replace(planned.table, consented=frozenset())
        return told

    worker.prepare = prepare  # type: ignore[method-assign]
    outcome = sites.run()
    assert outcome.missing == {"site-b3": "policy"}
    assert "t2" in str(sites.errors[0][1])


def other_members(envelope: Envelope, body: Body) -> RecordDict:
    panels = {**body.document["panels"]}
    panels["t1"] = {s: k for s, k in panels["t1"].items() if s != "site-b2"}
    return encode(envelope, Body(document={"panels": panels}, arrays=body.arrays))


def other_key(envelope: Envelope, body: Body) -> RecordDict:
    panels = {**body.document["panels"]}
    panels["t1"] = {**panels["t1"], "site-b1": "ab" * 32}
    return encode(envelope, Body(document={"panels": panels}, arrays=body.arrays))


def unasked(envelope: Envelope, body: Body) -> RecordDict:
    return encode(envelope, Body(arrays=body.arrays))


def broken_seal(envelope: Envelope, body: Body) -> RecordDict:
    seals = {key: dict.fromkeys(of, "AAAA" * 16) for key, of in body.document["seals"].items()}
    return encode(envelope, Body(document={**body.document, "seals": seals}, arrays=body.arrays))


def other_total(envelope: Envelope, body: Body) -> RecordDict:
    arrays = {name: a + a.dtype.type(2**31 - 1) for name, a in body.arrays.items()}
    big = {
        n: a << a.dtype.type(8 * a.itemsize - 9) for n, a in arrays.items() if a.dtype.kind == "u"
    }
    return encode(envelope, Body(document=body.document, arrays={**arrays, **big}))


def short_total(envelope: Envelope, body: Body) -> RecordDict:
    arrays = {name: a for name, a in body.arrays.items() if not name.endswith("t1/z")}
    return encode(envelope, Body(document=body.document, arrays=arrays))


@pytest.mark.parametrize(
    ("action", "change", "code"),
    [
        ("train.phase", other_members, "secure-sum"),
        ("train.phase", other_key, "secure-sum"),
        ("train.phase", unasked, "protocol"),
        ("query.conclude", broken_seal, "secure-sum"),
        ("query.conclude", other_total, "secure-sum"),
        ("query.conclude", short_total, "protocol"),
    ],
)
def test_a_coordinator_that_meddles(action: str, change: Any, code: str) -> None:
    """Catches a site that sends to whomever, and one that takes noise for a consensus."""
    made = study()
    sites = Meddling(made, tables(made), site="site-b1", action=action, change=change)
    outcome = sites.run()
    assert outcome.missing == {"site-b1": code}, sites.errors


def test_what_holders_send_waits_for_its_countersignature(tmp_path: Path) -> None:
    """Catches a part of a traveler's sum that leaves before its entry is on record: once all parts
    have arrived a holder has no further word, so that it cannot wait for the conclusion."""
    made, key = study(), Ed25519PrivateKey.generate()
    told = {"countersigned_by": key.public_key().public_bytes_raw().hex()}
    told |= {"anchors": Anchors(key, tmp_path / "anchors"), "folder": tmp_path}
    sites, _ = ran(made, **told)
    assert sorted(sites.asked("query.release")) == sorted(sites.asked("query.conclude")) != []
    plain, _ = ran(made)
    for site in ("site-b0", "site-b3"):
        model, expected = (s.workers[site].model for s in (sites, plain))
        assert model is not None
        assert expected is not None
        assert {n: a.tobytes() for n, a in model.arrays.items()} == {
            n: a.tobytes() for n, a in expected.arrays.items()
        }
    unsigned = Meddling(
        made,
        tables(made),
        site="site-b1",
        action="query.release",
        change=lambda envelope, body: encode(envelope, Body()),
        **told,
    )
    assert unsigned.run().missing == {"site-b1": "not-countersigned"}
    sent = [decode(one.reply.content)[1] for one in unsigned.sent if one.site == "site-b1"]
    assert not [body for body in sent if body.arrays]


def test_other_values_in_the_same_sum(tmp_path: Path) -> None:
    """Catches one mask over two sets of numbers, whose difference the coordinator could read."""
    made = study()
    _, first = ran(made, folder=tmp_path)
    (before,) = released(tmp_path / "site-b0")[1:]
    moved = replace(made, values=made.values + 1.0)
    sites = Federation(moved, tables(moved), folder=tmp_path)
    with pytest.raises(QuorumError, match="release-refused"):
        sites.run()
    assert "Other arrays were sent" in str(sites.errors[0][1])
    # The same people with the same numbers may be asked again: the same bytes leave.
    _, again = ran(made, folder=tmp_path)
    assert released(tmp_path / "site-b0")[-1] == before
    assert first.plan.hash == again.plan.hash

"""Releases of one site that one other reads: noise to the coordinator, the same after a crash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import RecordDict
from scipy import stats

from conformance.cases import Case, case
from conformance.federation import Federation, Meddling
from conformance.interrupted import Killed, interrupt
from conformance.ledgers import released
from motet.client.peers import Peers
from motet.errors import QuorumError
from motet.flower.records import Body, Envelope, decode, encode
from motet.harmonizer import Card, Params, SiteModel
from motet.ledger import Ledger
from motet.phases import Local, Publish, Step, Who
from motet.registry import Registry
from motet.releases import ArraySpec
from motet.secure.keys import SumKey, fingerprint
from motet.server import Outcome
from motet.server.anchors import Anchors
from motet.server.checkpoint import Checkpoint

P = 4000
FROM, TO = "site-b0", "site-b1"
ARRAYS = (
    ArraySpec(name="unit", shape=("p",), meaning="what the hub made"),
    ArraySpec(name="steps", shape=(), dtype="int64", meaning="steps"),
)


def make(site: Any, shared: Any) -> None:
    site.keep["made"] = site.data.block(slice(None)).mean(axis=0)


def send(site: Any, shared: Any) -> Any:
    return {"unit": site.keep["made"], "steps": np.asarray(3, dtype=np.int64)}


class SealedMethod:
    """A hub's means, sealed to one site."""

    name: ClassVar[str] = "sealed"
    params_type: ClassVar[type[Params]] = Params
    card: ClassVar[Card] = Card(
        title="Sealed", summary="Sends means.", data="table", papers=(), leaves="means"
    )

    def plan(self, params: Any, schema: Any) -> Sequence[Step]:
        return (
            Local(name="make", who=Who(site=FROM), at_site=make),
            Publish(
                name="unit_of_b1",
                who=Who(site=FROM),
                to=Who(site=TO),
                sealed="recipient",
                arrays=ARRAYS,
                at_site=send,
            ),
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
    registry.register(SealedMethod())
    monkeypatch.setattr("motet.registry.methods", lambda: registry)


def study() -> Case:
    return case("sealed", n=(5, 6, 4), p=P, covariates=())


def ran(made: Case, **options: Any) -> tuple[Federation, Outcome]:
    sites = Federation(made, **options)
    return sites, sites.run()


def kept(sites: Federation) -> dict[str, dict[str, bytes]]:
    models = {name: worker.model for name, worker in sites.workers.items()}
    return {s: {n: a.tobytes() for n, a in m.arrays.items()} for s, m in models.items() if m}


def test_the_recipient_alone_reads_it() -> None:
    """Catches numbers of one site that reach another, the coordinator or the shared model."""
    made = study()
    sites, outcome = ran(made)
    assert not outcome.missing, sites.errors
    assert not outcome.shared
    found = kept(sites)
    assert found[TO][f"{FROM}/unit"] == found[FROM]["made"]
    assert set(found[TO]) == {f"{FROM}/unit", f"{FROM}/steps"}
    assert not found["site-b2"]
    sent = [decode(one.reply.content)[1] for one in sites.sent if one.action == "train.phase"]
    (arrays,) = [body.arrays for body in sent if body.arrays]
    assert arrays["unit"].shape == (8 * P + 16,)
    each = np.concatenate([array.reshape(-1) for array in arrays.values()])
    assert stats.chisquare(np.bincount(each, minlength=256)).pvalue > 0.01


def test_the_ledger_and_the_plan_say_what_left(tmp_path: Path) -> None:
    """Catches a sealed release that is written down as what it was before, or not at all."""
    _, outcome = ran(study(), folder=tmp_path)
    entry = released(tmp_path / FROM)[-1]
    assert (entry["phase"], entry["class"]) == ("unit_of_b1", "published")
    assert {a["name"]: a["bytes"] for a in entry["arrays"]} == {"unit": 8 * P + 16, "steps": 24}
    assert [(r.bytes, r.dtype) for r in outcome.plan.releases() if r.phase == "unit_of_b1"] == [
        (8 * P + 16, "uint8"),
        (24, "uint8"),
    ]
    (phase,) = [p for p in outcome.plan.phases if p.name == "unit_of_b1"]
    assert "cannot read" in outcome.plan.readers(phase)
    assert not [e for e in released(tmp_path / "site-b2") if e["phase"] == "unit_of_b1"]


def test_it_waits_for_its_countersignature(tmp_path: Path) -> None:
    """Catches a sealed release that leaves before its entry is on record."""
    made, key = study(), Ed25519PrivateKey.generate()
    told = {"countersigned_by": key.public_key().public_bytes_raw().hex()}
    told |= {"anchors": Anchors(key, tmp_path / "anchors"), "folder": tmp_path}
    sites, _ = ran(made, **told)
    assert sites.asked("query.release") == [(FROM, "unit_of_b1")]
    assert kept(sites) == kept(ran(made)[0])


@pytest.mark.parametrize("call", range(1, 5))
def test_the_same_after_a_crash(call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a recipient that cannot go on since it kept what the plan says is another's phase."""
    made = study()
    _, straight = ran(made)
    with monkeypatch.context() as patch:
        interrupt(patch, Checkpoint, "save", call=call, when="before")
        sites = Federation(made, folder=tmp_path / "sites")
        try:
            sites.run(checkpoint=tmp_path / "progress.npz")
        except Killed:
            sites.ended()
    again = Federation(made, folder=tmp_path / "sites")
    outcome = again.run(checkpoint=tmp_path / "progress.npz")
    assert not outcome.missing, again.errors
    assert outcome.plan.hash == straight.plan.hash
    assert kept(again) == kept(ran(made)[0])


def in_clear(envelope: Envelope, body: Body) -> RecordDict:
    return encode(envelope, Body(arrays=body.arrays))


def changed(envelope: Envelope, body: Body) -> RecordDict:
    arrays = {name: np.array(array) for name, array in body.arrays.items()}
    arrays[f"sealed/{FROM}/unit"][3] ^= 1
    return encode(envelope, Body(document=body.document, arrays=arrays))


def from_nobody(envelope: Envelope, body: Body) -> RecordDict:
    return encode(envelope, Body(document={**body.document, "salts": {}}, arrays=body.arrays))


@pytest.mark.parametrize(
    ("site", "action", "change", "code"),
    [
        (FROM, "train.phase", in_clear, "protocol"),
        (TO, "query.conclude", changed, "secure-sum"),
        (TO, "query.conclude", from_nobody, "protocol"),
    ],
)
def test_a_coordinator_that_meddles(site: str, action: str, change: Any, code: str) -> None:
    """Catches a release in clear because somebody asked for one, and what was changed."""
    made = study()

    def meddled(envelope: Envelope, body: Body) -> RecordDict:
        phase = envelope.phase == "unit_of_b1"
        return change(envelope, body) if phase else encode(envelope, body)

    sites = Meddling(made, site=site, action=action, change=meddled)
    with pytest.raises(QuorumError):
        sites.run(quorum=3)
    assert code in {error.code for _, error in sites.errors}  # type: ignore[attr-defined]


def test_a_coordinator_that_hands_on_a_key_of_its_own(tmp_path: Path) -> None:
    """Catches numbers that are sealed to whoever is called the recipient: the coordinator."""
    own = SumKey.new().public.hex()

    def swapped(envelope: Envelope, body: Body) -> RecordDict:
        document = body.document
        if envelope.phase == "unit_of_b1":
            document = {**document, "seal": {**document["seal"], TO: own}}
        return encode(envelope, Body(document=document, arrays=body.arrays))

    sites = Meddling(study(), site=FROM, action="train.phase", change=swapped)
    masking = sites.workers[FROM]._masking
    masking.peers = Peers(Ledger(tmp_path / "ledger.sqlite", site=FROM), print)
    for site, worker in sites.workers.items():
        masking.peers.accept(site, fingerprint(worker._masking.key.public), by="tests")
    with pytest.raises(QuorumError):
        sites.run(quorum=3)
    assert any(site == FROM and "another key for" in str(error) for site, error in sites.errors)
    sent = [decode(one.reply.content)[1] for one in sites.sent if one.reply.has_content()]
    assert not any("unit" in body.arrays for body in sent)

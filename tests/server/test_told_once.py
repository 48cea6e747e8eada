"""What does not change in a training is sent to its sites once: of large networks, megabytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Message

from conformance.cases import Case, case
from conformance.federation import Answer, Federation
from conformance.interrupted import same
from motet.errors import ProtocolError
from motet.flower.lasting import LASTING, Lasting, Remembering
from motet.flower.records import Body, decode
from motet.server import Outcome

STUDY = replace(
    case("deepcombat", n=(9, 12, 8), p=4, covariates=("age",)),
    train={"preset": "tiny", "mode": "exact", "steps": 4},
)


class Watched(Federation):
    """Notes what one site is told; it forgets all of that before some exchange."""

    def __init__(self, made: Case, *, forgets: int = -1) -> None:
        self.told: list[tuple[str, Body]] = []
        self._forgets = forgets
        self.site = sorted(made.tables())[0]
        super().__init__(made, alter={self.site: self._watch})

    def _watch(self, message: Message, answer: Answer) -> Message:
        envelope, body = decode(message.content)
        if "@" in envelope.phase and message.metadata.message_type == "train.phase":
            if len(self.told) == self._forgets:
                self.workers[self.site].remembering = Remembering()
            self.told.append((envelope.phase, body))
        return answer()


def ran(made: Case, *, forgets: int = -1) -> tuple[Watched, Outcome]:
    sites = Watched(made, forgets=forgets)
    outcome = sites.run()
    assert not outcome.missing, (outcome.missing, sites.errors)
    return sites, outcome


@pytest.mark.parametrize("secure", [False, True])
def test_after_the_first_exchange_sites_are_told_the_networks_alone(secure: bool) -> None:
    """Catches a training that sends what came before it again and again."""
    sites, outcome = ran(replace(STUDY, secure=secure))
    assert outcome.plan.secure is secure
    (_, first), *others = sites.told
    lasting = first.document[LASTING]
    assert lasting
    assert set(lasting) < set(first.arrays)
    assert len(others) >= 2
    for _, body in others:
        assert set(body.arrays) == set(first.arrays) - set(lasting)


@pytest.mark.parametrize("secure", [False, True])
def test_a_site_whose_process_is_another_one_is_told_again(secure: bool) -> None:
    """Catches a restarted site that is lost, or that goes on without what it needs."""
    made = replace(STUDY, secure=secure)
    sites, outcome = ran(made, forgets=2)
    phases = [phase for phase, _ in sites.told]
    assert phases[2] == phases[3]
    assert set(sites.told[3][1].arrays) == set(sites.told[0][1].arrays)
    assert not sites.errors
    same(outcome, ran(made)[1])


def test_what_changed_after_all_is_sent() -> None:
    """Catches a site that goes on with old numbers where an array was put in another's place."""
    shared = {"mean": np.arange(3.0), "count": np.asarray(7)}
    lasting, site = Lasting(shared), Remembering()
    told = site.whole(lasting.whole(Body(arrays={**shared, "networks": np.zeros(2)})))
    assert told is not None
    now = {**shared, "mean": np.arange(3.0) + 1, "networks": np.ones(2)}
    found = site.whole(lasting.short(Body(arrays=now)))
    assert found is not None
    assert {n: a.tolist() for n, a in found.arrays.items()} == {
        n: a.tolist() for n, a in now.items()
    }


def test_another_phase_ends_what_is_remembered() -> None:
    """Catches networks that stay in a site's memory when their training is over."""
    shared = {"mean": np.arange(3.0)}
    lasting, site = Lasting(shared), Remembering()
    body = Body(document={"keys": {}}, arrays=shared)
    site.whole(lasting.whole(body))
    short = lasting.short(body)
    assert short.document["keys"] == {}
    assert not short.arrays
    found = site.whole(short)
    assert found is not None
    np.testing.assert_array_equal(found.arrays["mean"], shared["mean"])
    site.whole(Body(arrays={}))
    assert site.whole(short) is None


@pytest.mark.parametrize("said", [["not there"], 7, [["x"]]])
def test_nonsense_of_what_is_to_be_remembered_is_refused(said: object) -> None:
    """Catches a coordinator's odd message that ends in an unexplained error."""
    with pytest.raises(ProtocolError):
        Remembering().whole(Body(document={LASTING: said}, arrays={"x": np.zeros(1)}))

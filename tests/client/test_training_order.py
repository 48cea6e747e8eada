"""Exchanges of a training at a site that goes on from what it kept: in order, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.cases import case
from conformance.federation import Federation
from conformance.interrupted import same
from motet.errors import PolicyError, ProtocolError
from motet.flower.records import decode

KEPT = {"preset": "tiny", "mode": "local", "steps": 12, "moments": "kept"}
STUDY = replace(case("deepcombat", n=(9, 12, 8), p=4, covariates=("age",)), train=KEPT)
SITE = "site-b1"


def asking(sites: Federation, at: str, ask: Any) -> None:
    """Have the site asked for something else once it has answered a phase."""

    def alter(message: Any, answer: Any) -> Any:
        reply = answer()
        envelope, body = decode(message.content)
        if envelope.phase == at and message.metadata.message_type == "train.phase":
            worker = sites.workers[SITE]
            whole = worker.remembering.whole(body)
            assert whole is not None
            ask(worker, whole.arrays, envelope.plan)
        return reply

    sites._alter[SITE] = alter


@pytest.mark.parametrize(
    ("at", "path", "says"),
    [
        ("cvae@2", "cvae@1", "Exchange 1 .* exchange 3 is next"),
        ("cvae@2", "cvae@0", "Exchange 0 .* exchange 3 is next"),
        ("cvae@0", "cvae@2", "Exchange 2 .* exchange 1 is next"),
        ("residuals", "cvae@1", "Exchange 1 .* it is over"),
    ],
)
def test_an_exchange_out_of_its_turn_is_refused(
    at: str, path: str, says: str, tmp_path: Path
) -> None:
    """Catches an exchange of yesterday that is answered with the moments of today, which the
    site then keeps: what it sends from there on is of no training at all."""
    asked = []

    def ask(worker: Any, shared: Any, plan: str) -> None:
        with pytest.raises(ProtocolError, match=says) as error:
            worker.phase(path, shared, plan, run="a run")
        asked.append(str(error.value))

    expected = Federation(STUDY).run()
    sites = Federation(STUDY, folder=tmp_path)
    asking(sites, at, ask)
    same(sites.run(), expected)
    (said,) = asked
    assert "Nothing was sent" in said
    assert "Run the study anew" in said


def test_what_a_refused_exchange_kept_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a site that goes on from moments of an exchange that never left."""
    expected = Federation(STUDY).run()
    sites = Federation(STUDY)

    def ask(worker: Any, shared: Any, plan: str) -> None:
        def refuse(*args: Any, **keywords: Any) -> None:
            raise PolicyError("No.", site=SITE)

        with monkeypatch.context() as patch, pytest.raises(PolicyError):
            patch.setattr(worker._gate, "check_samples", refuse)
            worker.phase("cvae@2", shared, plan, run="a run")

    asking(sites, "cvae@1", ask)
    same(sites.run(), expected)

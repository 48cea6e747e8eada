"""What a site replies to anything: a reply, and of an error its code alone."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.cases import case
from conformance.federation import Federation
from motet.client.app import answer
from motet.flower.inprocess import InProcessGrid
from motet.flower.records import Body, Envelope, decode, encode

STUDY = case(p=4)


def asked(document: Any, action: str = "query.agree") -> tuple[Envelope, Body, str]:
    """The reply of a site to one message, and what stands in its own log."""
    InProcessGrid({}).close()
    federation = Federation(STUDY)
    content = encode(Envelope(run="r/1", round=3), Body(document=document))
    reply = answer(lambda *about: federation.workers["site-b0"], action, content)
    envelope, body = decode(reply)
    return envelope, body, " ".join(str(error) for _, error in federation.errors)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"method": "combat9000"}, "unknown-method", "combat9000"),
        ({"evaluation": {"fortune": 1}}, "study-file", "fortune"),
        ({"weather": "fine"}, "study-file", "weather"),
        ({"params": {"prior": "posterior"}}, "study-file", "posterior"),
    ],
)
def test_study_file_that_this_version_does_not_know(
    change: dict[str, Any], code: str, words: str
) -> None:
    """Catches a newer coordinator's option that an older site ignores, and words that leave."""
    envelope, body, logged = asked({"study": {**STUDY.study.public(), **change}})
    assert (envelope.status, envelope.run, envelope.round) == (code, "r/1", 3)
    assert (body.document, dict(body.arrays)) == (None, {})
    assert words in logged


@pytest.mark.parametrize(
    ("document", "action", "code"),
    [
        (None, "query.agree", "protocol"),
        ({"study": 3}, "query.agree", "study-file"),
        (None, "train.other", "protocol"),
        (None, "query.prepare", "protocol"),
        ({"schema": {}}, "train.phase", "protocol"),
    ],
)
def test_messages_that_make_no_sense(document: Any, action: str, code: str) -> None:
    """Catches an exception that ends the worker, or a reply that never comes."""
    envelope, _, _ = asked(document, action)
    assert envelope.status == code

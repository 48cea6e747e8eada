"""The text of an exception, which may name a patient, never leaves the site it was raised at."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import numpy as np
import pytest

from conformance.cases import case
from conformance.federation import Federation
from conformance.hostile import NAME, flower_error, raises
from motet.errors import DataError, MotetError
from motet.plan import AGREE

STUDY = case(n=(9, 12, 8, 10), p=4)
BAD = "site-b2"

ERRORS = {
    "data": DataError(f"The age of {NAME} is missing.", person=NAME, file=f"/home/{NAME}/x.tsv"),
    "site-failed": ValueError(f"no value for {NAME}"),
}
PLACES = ["agree", "prepare", "phase", "finish"]


def serialized(federation: Federation) -> bytes:
    """Every reply of every site as the bytes that Flower would send."""
    from flwr.common.serde import message_to_proto

    return b"".join(message_to_proto(s.reply).SerializeToString() for s in federation.sent)


def everything(federation: Federation, outcome: Any) -> str:
    return repr((outcome, federation.events))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("code", ERRORS)
def test_error_of_a_site(
    code: str, place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches str(error) in a reply, an outcome or an event. The site's own log has it."""
    federation = Federation(STUDY)

    def boom(*args: Any, **told: Any) -> Any:
        raise ERRORS[code]

    monkeypatch.setattr(federation.workers[BAD], place, boom)
    with caplog.at_level(logging.DEBUG):
        outcome = federation.run()
    assert outcome.missing == {BAD: code}
    assert NAME not in everything(federation, outcome)
    assert NAME.encode() not in serialized(federation)
    assert federation.errors == [(BAD, ERRORS[code])]
    assert NAME not in caplog.text, "logged on the coordinator's side"


@pytest.mark.parametrize("alter", [raises, flower_error])
def test_error_that_the_app_does_not_catch(alter: Any) -> None:
    """Catches Flower's error reason, which is the site's text, in an outcome or an event."""
    federation = Federation(STUDY, alter={BAD: alter})
    outcome = federation.run()
    assert outcome.missing == {BAD: "site-app"}
    assert NAME not in everything(federation, outcome)


@pytest.mark.parametrize("code", ERRORS)
def test_error_that_ends_the_study(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches the name in the QuorumError or anywhere in the chain of exceptions behind it."""
    federation = Federation(STUDY)

    def boom(*args: Any, **told: Any) -> Any:
        raise ERRORS[code]

    for site in ("site-b0", "site-b1", BAD):
        monkeypatch.setattr(federation.workers[site], "phase", boom)
    with pytest.raises(MotetError) as error:
        federation.run()
    assert error.value.code == "quorum"
    assert f"{BAD} ({code})" in str(error.value)
    text = "".join(traceback.format_exception(error.value))
    assert NAME not in text
    assert NAME not in repr(federation.events)


def test_participants_and_values_are_in_no_message() -> None:
    """Catches names of people, or a row of values, in any message of any site."""
    study = case(n=(9, 12, 8, 10), p=4, covariates=("age",))
    federation = Federation(study)
    federation.run()
    sent = serialized(federation)
    for table in federation.tables.values():
        for row, person in enumerate(table.people):
            assert str(person).encode() not in sent
            values = np.ascontiguousarray(table.values[table.rows[row]])
            assert values.tobytes() not in sent


def test_description_holds_declared_keys_only() -> None:
    """Catches a description that grows: consent was given to these keys."""
    from motet.flower.records import decode

    federation = Federation(STUDY)
    federation.run()
    for sent in federation.sent:
        if sent.action == "query.agree":
            described = decode(sent.reply.content)[1].document
            assert set(described) <= {*AGREE.equal, "covariates", "batches", "same_as"}
            for covariate in described["covariates"]:
                assert set(covariate) == {"name", "kind", "levels", "varies"}

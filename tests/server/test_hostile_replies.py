"""A site that misbehaves is left out by name, and the others' result is as if it had never been."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message

from conformance.cases import case
from conformance.federation import Alter, Answer, Federation
from conformance.hostile import (
    IN_A_PHASE,
    Reply,
    document,
    garbage,
    nothing,
    on,
    stated,
    with_entry,
)
from motet.errors import MotetError, QuorumError
from motet.server import Outcome
from motet.server.events import Kind
from motet.version import __version__

STUDY = case(n=(9, 12, 8, 10), p=5)
BAD = "site-b2"


def survivors() -> tuple[dict[str, bytes], bytes]:
    """The run of a federation that the bad site never was in."""
    tables = {site: table for site, table in STUDY.tables().items() if site != BAD}
    federation = Federation(STUDY, tables)
    return bits(federation.run()), federation.values.tobytes()


def bits(outcome: Outcome) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in outcome.shared.items()}


def left_out(federation: Federation, outcome: Outcome, code: str) -> None:
    assert outcome.missing == {BAD: code}
    lost = [(e.site, e.code) for e in federation.events if e.kind is Kind.LOST]
    assert lost == [(BAD, code)]
    assert outcome.plan.schema.sites == ("site-b0", "site-b1", "site-b3")
    federation.values[STUDY.batch == "b2"] = np.nan
    shared, values = survivors()
    assert bits(outcome) == shared
    assert federation.values.tobytes() == values


@pytest.mark.parametrize("kind", IN_A_PHASE)
def test_reply_in_a_phase(kind: str) -> None:
    """Catches a validator that lets one of these through, or that falls over itself."""
    alter, code = IN_A_PHASE[kind]
    federation = Federation(STUDY, alter={BAD: alter})
    left_out(federation, federation.run(), code)


@pytest.mark.parametrize("reply", [garbage, nothing, document("{")])
@pytest.mark.parametrize("action", ["query.agree", "query.prepare"])
def test_garbage_before_the_phases(action: str, reply: Reply) -> None:
    """Catches trust in the messages that come before the plan."""
    federation = Federation(STUDY, alter={BAD: on(action, reply)})
    left_out(federation, federation.run(), "protocol")


@pytest.mark.parametrize("text", ["NaN", '{"done": NaN}', '"\\ud800"', "[[]]", '{"done": [[1]]}'])
@pytest.mark.parametrize("action", ["query.prepare", "train.phase", "query.finish"])
def test_document_that_nobody_asked_for(action: str, text: str, tmp_path: Path) -> None:
    """Catches a document that is valid for one parser and breaks the next. Whether the site is
    left out or the document is not looked at: the coordinator goes on."""
    federation = Federation(STUDY, alter={BAD: on(action, document(text))})
    outcome = federation.run(checkpoint=tmp_path / "progress.npz")
    assert outcome.missing in ({}, {BAD: "protocol"})


@pytest.mark.parametrize("reply", [garbage, nothing, stated(run="another"), document("[]")])
def test_garbage_at_hello(reply: Reply) -> None:
    """Catches a greeting that is not checked. The node has no name yet: its number is told."""
    federation = Federation(STUDY, alter={BAD: on("query.hello", reply)})
    outcome = federation.run()
    assert list(outcome.missing) == ["node 3"]
    assert bits(outcome) == survivors()[0]


def test_two_sites_of_one_name() -> None:
    """Catches a site that takes another's place: only one of them can be believed."""
    impostor = on("query.hello", document(f'{{"site": "site-b1", "motet": "{__version__}"}}'))
    federation = Federation(STUDY, alter={BAD: impostor})
    outcome = federation.run()
    assert outcome.missing == {"node 3": "site-name"}
    assert bits(outcome) == survivors()[0]


@pytest.mark.parametrize("name", ["", "../../etc", "a/b", "\ud800", "a\nb", 3, None])
def test_site_name_that_is_none(name: object) -> None:
    """Catches a name that becomes a folder, a line of a log, or half a character."""
    greeting = json.dumps({"site": name, "motet": __version__})
    federation = Federation(STUDY, alter={BAD: on("query.hello", document(greeting))})
    outcome = federation.run()
    assert outcome.missing == {"node 3": "protocol" if name == "\ud800" else "site-name"}
    assert bits(outcome) == survivors()[0]


def test_other_version_is_left_out() -> None:
    """Catches two versions in one study: their plans would differ, or worse, would not."""
    other = on("query.hello", document(f'{{"site": "{BAD}", "motet": "0.0.9"}}'))
    federation = Federation(STUDY, alter={BAD: other})
    left_out(federation, federation.run(), "version")


def test_bad_reply_at_finish_is_named_and_changes_nothing() -> None:
    """Catches a site that did not harmonize being reported as done."""
    federation = Federation(STUDY, alter={BAD: on("query.finish", stated(status="data"))})
    outcome = federation.run()
    assert outcome.missing == {BAD: "data"}
    assert bits(outcome) == bits(Federation(STUDY).run())


def never(released: threading.Event, action: str) -> Alter:
    """A handler that does not answer while the coordinator waits."""

    def alter(request: Message, answer: Answer) -> Message:
        if request.metadata.message_type == action:
            released.wait(20)
        return answer()

    return alter


@pytest.mark.parametrize("action", ["query.agree", "train.phase"])
def test_site_that_never_answers(action: str) -> None:
    """Catches a wait without an end, and a late reply that is still counted."""
    released = threading.Event()
    federation = Federation(STUDY, alter={BAD: never(released, action)}, timeout=0.4)
    begin = time.monotonic()
    try:
        outcome = federation.run()
    finally:
        released.set()
    assert time.monotonic() - begin < 3
    left_out(federation, outcome, "timeout")


def test_two_silent_sites_do_not_keep_the_others_from_being_heard() -> None:
    """Catches honest sites timing out because silent ones hold every thread of the grid."""
    released = threading.Event()
    silent = never(released, "train.phase")
    federation = Federation(STUDY, alter={"site-b0": silent, BAD: silent}, timeout=0.5)
    try:
        outcome = federation.run()
    finally:
        released.set()
    assert outcome.missing == {"site-b0": "timeout", BAD: "timeout"}


def test_quorum_not_reached_names_who_and_why() -> None:
    """Catches a study of one site passing as federated, and an error that does not say who."""
    nan, _ = IN_A_PHASE["nan"]
    raises, _ = IN_A_PHASE["exception"]
    federation = Federation(STUDY, alter={"site-b0": nan, BAD: raises})
    with pytest.raises(QuorumError) as error:
        federation.run(quorum=3)
    assert "site-b0 (invalid-reply)" in str(error.value)
    assert f"{BAD} (site-app)" in str(error.value)
    assert "site-b1" in str(error.value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "value"), [("ww", -1e308), ("ww", 1.7e308), ("sum_y", 1.7e308), ("yy", 1.7e308)]
)
def test_absurd_but_finite_numbers_end_in_numbers_or_a_typed_error(name: str, value: float) -> None:
    """Catches a finite lie that breaks the coordinator, or makes everybody's result NaN."""
    liar = on("train.phase", with_entry(name, value))
    federation = Federation(STUDY, alter={"site-b0": liar, BAD: liar})
    try:
        outcome = federation.run()
    except MotetError:
        return
    for key, array in outcome.shared.items():
        assert array.dtype.kind != "f" or np.isfinite(array).all(), f"'{key}' is not finite"

"""What a site may send instead of an honest reply, and what it is rejected for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from conformance.federation import Alter, Answer
from motet.flower.records import RAW, Body, Envelope, decode, encode

NAME = "Erika Mustermann"
"""A made-up patient: wherever this turns up, an exception's text left its site."""

Reply = Callable[[Message, Envelope, Body], RecordDict]


def on(action: str, reply: Reply) -> Alter:
    """Answer honestly but to one kind of message."""

    def alter(request: Message, answer: Answer) -> Message:
        honest = answer()
        if request.metadata.message_type != action:
            return honest
        envelope, body = decode(honest.content)
        return Message(reply(request, envelope, body), reply_to=request)

    return alter


def arrays(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Reply:
    """The right envelope and hash around other arrays."""
    return lambda request, envelope, body: encode(
        envelope, Body(document=body.document, arrays=change(dict(body.arrays)))
    )


def stated(**changes: Any) -> Reply:
    """The honest body in another envelope."""
    return lambda request, envelope, body: encode(replace(envelope, **changes), body)


def with_entry(name: str, value: float) -> Reply:
    """One entry of one array replaced."""

    def change(honest: dict[str, Any]) -> dict[str, Any]:
        array = np.array(honest[name])
        array.reshape(-1)[0] = value
        return honest | {name: array}

    return arrays(change)


def wrong_hash(request: Message, envelope: Envelope, body: Body) -> RecordDict:
    """The envelope of the honest body around another."""
    content = encode(envelope, body)
    content["arrays"] = encode(envelope, Body(arrays={"x": np.zeros(2)}))["arrays"]
    return content


def raw_array(**changes: Any) -> Reply:
    """One array whose bytes do not go with what is said of them."""

    def reply(request: Message, envelope: Envelope, body: Body) -> RecordDict:
        content = encode(envelope, body)
        honest = {"dtype": "float64", "shape": (2,), "stype": RAW, "data": bytes(16)}
        content["arrays"] = ArrayRecord({"sum_y": Array(**(honest | changes))})
        return content

    return reply


def document(text: str) -> Reply:
    """Any text where JSON should be, under a hash that fits it."""
    from motet.store import bytes_hash

    def reply(request: Message, envelope: Envelope, body: Body) -> RecordDict:
        content = encode(envelope, body)
        content["document"] = ConfigRecord({"json": text})
        sealed = {**vars(envelope), "sha256": bytes_hash(body.arrays, text)}
        content["envelope"] = ConfigRecord(sealed)
        return content

    return reply


def garbage(request: Message, envelope: Envelope, body: Body) -> RecordDict:
    """Records of the right names and the wrong kinds."""
    return RecordDict(
        {
            "envelope": MetricRecord({"run": 1}),
            "document": ArrayRecord(),
            "arrays": ConfigRecord({"arrays": NAME}),
        }
    )


def nothing(request: Message, envelope: Envelope, body: Body) -> RecordDict:
    """No record at all."""
    return RecordDict()


def raises(request: Message, answer: Answer) -> Message:
    """An app that breaks where Motet does not catch it."""
    if request.metadata.message_type == "train.phase":
        raise RuntimeError(f"no value for {NAME}")
    return answer()


def flower_error(request: Message, answer: Answer) -> Message:
    """What Flower sends when a node's app cannot run."""
    if request.metadata.message_type == "train.phase":
        return Message(Error(2, f"no value for {NAME}"), reply_to=request)
    return answer()


IN_A_PHASE: dict[str, tuple[Alter, str]] = {
    "nan": (on("train.phase", with_entry("sum_y", np.nan)), "invalid-reply"),
    "inf": (on("train.phase", with_entry("ww", -np.inf)), "invalid-reply"),
    "negative people": (on("train.phase", with_entry("people", -3)), "invalid-reply"),
    "negative squares": (on("train.phase", with_entry("yy", -1e-300)), "invalid-reply"),
    "other shape": (
        on("train.phase", arrays(lambda a: a | {"wy": a["wy"].T.copy()})),
        "invalid-reply",
    ),
    "other dtype": (
        on("train.phase", arrays(lambda a: a | {"yy": a["yy"].astype(np.float32)})),
        "invalid-reply",
    ),
    "one array too many": (
        on("train.phase", arrays(lambda a: a | {"names": np.zeros(3)})),
        "invalid-reply",
    ),
    "one array too few": (
        on("train.phase", arrays(lambda a: {k: v for k, v in a.items() if k != "wy"})),
        "invalid-reply",
    ),
    "no arrays": (on("train.phase", arrays(lambda a: {})), "invalid-reply"),
    "wrong hash": (on("train.phase", wrong_hash), "protocol"),
    "garbage": (on("train.phase", garbage), "protocol"),
    "nothing": (on("train.phase", nothing), "protocol"),
    "round of before": (on("train.phase", stated(round=1)), "stale"),
    "other run": (on("train.phase", stated(run="another")), "stale"),
    "other plan": (on("train.phase", stated(plan="0" * 64)), "stale"),
    "other phase": (on("train.phase", stated(phase="reference")), "stale"),
    "bytes too few": (on("train.phase", raw_array(data=bytes(8))), "protocol"),
    "pickle": (on("train.phase", raw_array(stype="numpy.ndarray")), "protocol"),
    "objects": (on("train.phase", raw_array(dtype="object")), "protocol"),
    "negative side": (on("train.phase", raw_array(shape=(-2,))), "protocol"),
    "huge side": (on("train.phase", raw_array(shape=(0, 2**70), data=b"")), "protocol"),
    "many sides": (on("train.phase", raw_array(shape=(1,) * 80, data=bytes(8))), "protocol"),
    "no JSON": (on("train.phase", document("{")), "protocol"),
    "deep JSON": (on("train.phase", document("[" * 100_000)), "protocol"),
    "words as a status": (on("train.phase", stated(status=f"no value for {NAME}")), "unknown"),
    "name as a status": (on("train.phase", stated(status="Erika-Mustermann")), "unknown"),
    "exception": (raises, "site-app"),
    "error of Flower": (flower_error, "site-app"),
}

"""What a site may send instead of an honest reply, and what it is rejected for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from conformance.federation import Alter, Answer
from motet.flower.records import PACKED, RAW, Body, Envelope, decode, encode
from motet.store import bytes_hash

HONEST = '[["x","float64",2]]'

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
    """The envelope of the honest body around another of the same layout."""
    zeros = {name: np.zeros_like(array) for name, array in body.arrays.items()}
    content = encode(envelope, Body(document=body.document, arrays=zeros))
    content["envelope"] = encode(envelope, body)["envelope"]
    return content


def packed(layout: str, *, data: bytes = bytes(16), name: str = PACKED, stype: str = RAW) -> Reply:
    """Bytes that do not go with what is said of them."""

    def reply(request: Message, envelope: Envelope, body: Body) -> RecordDict:
        content = encode(envelope, body)
        content["document"] = ConfigRecord({"json": "null", "layout": layout})
        array = Array(dtype="uint8", shape=(len(data),), stype=stype, data=data)
        content["arrays"] = ArrayRecord({name: array})
        return content

    return reply


def document(text: str) -> Reply:
    """Any text where JSON should be, under a hash that fits it."""

    def reply(request: Message, envelope: Envelope, body: Body) -> RecordDict:
        content = encode(envelope, body)
        layout = content["document"]["layout"]
        content["document"] = ConfigRecord({"json": text, "layout": layout})
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
    "pickle": (on("train.phase", packed(HONEST, stype="numpy.ndarray")), "protocol"),
    "not packed": (on("train.phase", packed(HONEST, name="sum_y")), "protocol"),
    "layout that fits, for another hash": (on("train.phase", packed(HONEST)), "protocol"),
    **{
        f"layout {layout[:40]}": (on("train.phase", packed(layout)), "protocol")
        for layout in (
            "",
            "{}",
            "[3]",
            "[[]]",
            '[["x"]]',
            '[["x", "float64", 1]]',
            '[["x", "float64", 3]]',
            '[["x", "object", 2]]',
            '[["x", ["float64"], 2]]',
            '[[["x"], "float64", 2]]',
            '[["x", "float64", 1], ["x", "float64", 1]]',
            '[["x", "float64", -2, -1]]',
            '[["x", "float64", 2.0]]',
            '[["x", "float64", true, 2]]',
            '[["x", "float64", "2"]]',
            '[["x", "float64", 1180591620717411303424]]',
            '[["x", "float64", 0, 1180591620717411303424], ["y", "float64", 2]]',
            f'[["many sides", "float64", 2{", 1" * 80}]]',
            '[["\\ud800", "float64", 2]]',
            '[["x", "float64", NaN]]',
            "[" * 100_000,
        )
    },
    "no JSON": (on("train.phase", document("{")), "protocol"),
    "deep JSON": (on("train.phase", document("[" * 100_000)), "protocol"),
    "words as a status": (on("train.phase", stated(status=f"no value for {NAME}")), "unknown"),
    "name as a status": (on("train.phase", stated(status="Erika-Mustermann")), "unknown"),
    "exception": (raises, "site-app"),
    "error of Flower": (flower_error, "site-app"),
}

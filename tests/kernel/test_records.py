"""Messages: what is encoded is decoded, and anything else is a ProtocolError and nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from motet.errors import ProtocolError
from motet.flower.inprocess import InProcessGrid
from motet.flower.records import PACKED, RAW, Body, Envelope, decode, encode
from motet.releases import DTYPES
from motet.store import bytes_hash

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
).filter(lambda value: "inf" not in repr(value).lower())
arrays = st.dictionaries(
    text,
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
        )
    ),
    max_size=3,
)


@pytest.fixture(scope="module", autouse=True)
def identity() -> None:
    """Flower makes messages only in a process that knows its run; the grid sees to that."""
    InProcessGrid({}).close()


def through_flower(content: RecordDict) -> RecordDict:
    """The records after Flower has turned them into bytes and back."""
    proto = message_to_proto(Message(content, 1, "train.phase"))
    return message_from_proto(ProtoMessage.FromString(proto.SerializeToString())).content


@given(arrays=arrays, document=json_values, phase=text, number=st.integers(0, 2**31))
def test_round_trip(arrays: Any, document: Any, phase: str, number: int) -> None:
    """Catches a dtype, shape, NaN payload or empty array that does not survive the transport."""
    envelope = Envelope(run="r", plan="p", phase=phase, round=number)
    sent = encode(envelope, Body(document=document, arrays=arrays))
    for content in (sent, through_flower(sent)):
        got, body = decode(content)
        assert got == envelope
        assert body.document == document
        assert sorted(body.arrays) == sorted(arrays)
        for name, array in arrays.items():
            assert (body.arrays[name].dtype, body.arrays[name].shape) == (array.dtype, array.shape)
            assert body.arrays[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">f8", "<f8", ">i4", "<i8"])
def test_byte_and_memory_order_do_not_matter(dtype: str, order: Any) -> None:
    """Catches bytes sent as they lie in memory: big-endian, or column by column."""
    values = np.arange(12).reshape(3, 4)
    sent = np.array(values, dtype=dtype, order=order)[:, ::2]
    _, body = decode(encode(Envelope(run="r"), Body(arrays={"a": sent})))
    assert body.arrays["a"].dtype.isnative
    np.testing.assert_array_equal(body.arrays["a"], values[:, ::2])


flower_values = (
    st.integers(-(2**40), 2**40) | st.floats() | text | st.booleans() | st.binary(max_size=8)
)
flower_arrays = st.builds(
    lambda dtype, shape, stype, data: Array(dtype=dtype, shape=shape, stype=stype, data=data),
    st.sampled_from([*DTYPES, "object", "<U3", "complex128", "M8[s]", "", "nonsense"]),
    st.lists(st.integers(-2, 2**70) | st.integers(0, 3), max_size=70).map(tuple),
    st.sampled_from([RAW, "numpy.ndarray", ""]),
    st.binary(max_size=40),
)
records = st.one_of(
    st.dictionaries(text, flower_values, max_size=4).map(ConfigRecord),
    st.dictionaries(text, st.integers(0, 9), max_size=2).map(MetricRecord),
    st.dictionaries(text, flower_arrays, max_size=3).map(ArrayRecord),
)


@given(
    content=st.dictionaries(
        st.sampled_from(["envelope", "document", "arrays", "other"]), records, max_size=4
    )
)
def test_garbage_is_a_protocol_error(content: Any) -> None:
    """Catches any other exception: it would end the coordinator, or a site's app."""
    with pytest.raises(ProtocolError):
        decode(RecordDict(content))


layouts = st.lists(
    st.lists(st.sampled_from([*DTYPES, "object", "x"]) | st.integers(-2, 2**70) | json_values),
    max_size=3,
)


@given(
    array=flower_arrays,
    layout=layouts.map(json.dumps) | text,
    envelope=st.dictionaries(text, flower_values, max_size=3),
)
def test_nearly_right_message_is_a_protocol_error(array: Any, layout: str, envelope: Any) -> None:
    """Catches shapes that overflow, sides that do not multiply out, keys too many."""
    content = encode(Envelope(run="r"), Body(arrays={"a": np.zeros(3)}))
    content["arrays"] = ArrayRecord({PACKED: array})
    content["document"] = ConfigRecord({"json": "null", "layout": layout})
    content["envelope"] = ConfigRecord(dict(content["envelope"]) | envelope)
    with pytest.raises(ProtocolError):
        decode(content)


@pytest.mark.parametrize("document", ["", "{", "[1,]", "[" * 10**5, "1" * 5000, "\x00"])
def test_document_that_is_no_json_is_a_protocol_error(document: str) -> None:
    """Catches RecursionError and the like under a hash that fits."""
    content = encode(Envelope(run="r"), Body())
    content["document"] = ConfigRecord({"json": document, "layout": "[]"})
    sealed = dict(content["envelope"]) | {"sha256": bytes_hash({}, document)}
    content["envelope"] = ConfigRecord(sealed)
    with pytest.raises(ProtocolError, match="cannot be read"):
        decode(content)


def test_one_flipped_bit_of_the_body_is_noticed() -> None:
    """Catches a hash that does not cover names, shapes, dtypes or the document."""
    body = Body(document={"a": 1}, arrays={"x": np.arange(4.0)})
    envelope = Envelope(run="r")
    honest = encode(envelope, body)
    assert decode(honest)[1].arrays["x"].tolist() == [0, 1, 2, 3]
    for text, layout in (
        ('{"a":2}', '[["x","float64",4]]'),
        ('{"a":1}', '[["x","float64",2,2]]'),
        ('{"a":1}', '[["x","int64",4]]'),
        ('{"a":1}', '[["y","float64",4]]'),
        ('{"a":1}', '[["x","float64",3],["y","float64",1]]'),
    ):
        content = encode(envelope, body)
        content["document"] = ConfigRecord({"json": text, "layout": layout})
        with pytest.raises(ProtocolError, match="hash"):
            decode(content)
    raw = honest["arrays"][PACKED]
    content = encode(envelope, body)
    changed = Array(dtype="uint8", shape=(32,), stype=RAW, data=b"\1" + raw.data[1:])
    content["arrays"] = ArrayRecord({PACKED: changed})
    with pytest.raises(ProtocolError, match="hash"):
        decode(content)

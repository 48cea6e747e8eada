"""How a Motet message lies in a Flower message: an envelope, a JSON document, and arrays.

Arrays travel as raw little-endian bytes, one behind the other, beside a layout of their names,
dtypes and shapes: nothing that could run code is ever parsed, and lengths are checked before
anything is allocated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from motet.errors import ProtocolError
from motet.releases import DTYPES, Arrays
from motet.store import bytes_hash, canonical_json, little_endian

RAW = "motet.little-endian"
PACKED = "packed"


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What a message belongs to. ``status`` is ``"ok"`` or, in a reply, an error code."""

    run: str
    plan: str = ""
    phase: str = ""
    round: int = 0
    attempt: int = 1
    status: str = "ok"


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a message says: a JSON document and arrays."""

    document: Any = None
    arrays: Arrays = field(default_factory=dict)


def encode(envelope: Envelope, body: Body) -> RecordDict:
    """Lay a message out as Flower records."""
    text = canonical_json(body.document)
    return RecordDict(
        {
            "envelope": ConfigRecord({**vars(envelope), "sha256": bytes_hash(body.arrays, text)}),
            "document": ConfigRecord({"json": text, "layout": _layout(body.arrays)}),
            "arrays": ArrayRecord({PACKED: _packed(body.arrays)} if body.arrays else {}),
        }
    )


def refusal(to: Envelope, code: str, body: Body | None = None) -> RecordDict:
    """A reply that says, by a code, why there is none."""
    return encode(replace(to, status=code), body or Body())


def decode(content: RecordDict) -> tuple[Envelope, Body]:
    """Read a message.

    Raises
    ------
    ProtocolError
        When a record, key or type is missing or wrong, an array's bytes do not fit its shape, or
        the body does not have the hash that the envelope states.
    """
    envelope, digest = envelope_of(content)
    with reading("A message"):
        text = str(content["document"]["json"])
        document = json.loads(text)
        if "\\ud" in text.lower():
            canonical_json(document).encode()  # refuses halves of characters
        arrays = _unpacked(str(content["document"]["layout"]), content["arrays"])
    if bytes_hash(arrays, text) != digest:
        raise ProtocolError("A message's body does not have the hash of its envelope.")
    return envelope, Body(document=document, arrays=arrays)


def envelope_of(content: RecordDict) -> tuple[Envelope, str]:
    """The envelope alone, and the hash it states of its body.

    Raises
    ------
    ProtocolError
        When there is none.
    """
    with reading("A message"):
        stated: dict[str, Any] = dict(content["envelope"])
        digest = str(stated.pop("sha256"))
        envelope = Envelope(**stated)
    for name in ("run", "plan", "phase", "status"):
        if not isinstance(getattr(envelope, name), str):
            raise ProtocolError(f"The envelope's '{name}' is not text.")
    if type(envelope.round) is not int:
        raise ProtocolError("The envelope's 'round' is no number.")
    return envelope, digest


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn what goes wrong while bytes of somebody else are read into a :class:`ProtocolError`."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"{what} cannot be read: {type(error).__name__}.") from error


def _layout(arrays: Arrays) -> str:
    """``name dtype shape`` of every array, in the order of their bytes."""
    return canonical_json([[n, arrays[n].dtype.name, *arrays[n].shape] for n in sorted(arrays)])


def _packed(arrays: Arrays) -> Array:
    """All arrays behind each other: Flower adds some 400 bytes an array, and we have eight."""
    return raw(b"".join(little_endian(arrays[name]).tobytes() for name in sorted(arrays)))


def raw(data: bytes) -> Array:
    """Bytes as Flower carries them, untouched."""
    return Array(dtype="uint8", shape=(len(data),), stype=RAW, data=data)


def _unpacked(layout: str, record: Any) -> dict[str, NDArray[Any]]:
    entries = json.loads(layout)
    if not isinstance(entries, list) or not isinstance(record, ArrayRecord):
        raise ProtocolError("A message has no layout of its arrays.")
    if set(record) != ({PACKED} if entries else set()):
        raise ProtocolError("A message's arrays are not packed as expected.")
    if not entries:
        return {}
    packed = record[PACKED]
    if packed.stype != RAW or not isinstance(packed.data, bytes):
        raise ProtocolError("A message's arrays are not in a form that is read here.")
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for name, dtype, *shape in entries:
        if not isinstance(name, str) or name in arrays or dtype not in DTYPES:
            raise ProtocolError("An array has a name or type that is not read here.")
        name.encode()  # refuses halves of characters
        if any(type(side) is not int or side < 0 for side in shape):
            raise ProtocolError(f"The array '{name}' has an impossible shape.")
        little = np.dtype(dtype).newbyteorder("<")
        count = math.prod(shape)
        stop = start + count * little.itemsize
        if stop > len(packed.data):
            raise ProtocolError(f"The bytes of the array '{name}' are not all there.")
        values = np.frombuffer(packed.data, dtype=little, count=count, offset=start)
        arrays[name] = values.reshape(shape).astype(np.dtype(dtype), copy=False)
        start = stop
    if start != len(packed.data):
        raise ProtocolError("A message holds bytes that no array claims.")
    return arrays

"""How a Motet message lies in a Flower message: an envelope, a JSON document, and arrays.

Arrays travel as raw little-endian bytes behind a declared dtype and shape, so nothing that could
run code is ever parsed, and their lengths are checked before anything is allocated.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from motet.errors import ProtocolError
from motet.releases import DTYPES, Arrays
from motet.store import bytes_hash, canonical_json, little_endian

RAW = "motet.little-endian"


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
            "document": ConfigRecord({"json": text}),
            "arrays": ArrayRecord(
                {name: _to_flower(array) for name, array in sorted(body.arrays.items())}
            ),
        }
    )


def decode(content: RecordDict) -> tuple[Envelope, Body]:
    """Read a message.

    Raises
    ------
    ProtocolError
        When a record, key or type is missing or wrong, an array's bytes do not fit its shape, or
        the body does not have the hash that the envelope states.
    """
    try:
        stated: dict[str, Any] = dict(content["envelope"])
        digest = stated.pop("sha256")
        envelope = Envelope(**stated)
        text = str(content["document"]["json"])
        document = json.loads(text)
        arrays = {
            str(name): _from_flower(str(name), array) for name, array in content["arrays"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"A message cannot be read: {type(error).__name__}.") from error
    for name in ("run", "plan", "phase", "status"):
        if not isinstance(getattr(envelope, name), str):
            raise ProtocolError(f"The envelope's '{name}' is not text.")
    if bytes_hash(arrays, text) != digest:
        raise ProtocolError("A message's body does not have the hash of its envelope.")
    return envelope, Body(document=document, arrays=arrays)


def _to_flower(array: NDArray[Any]) -> Array:
    raw = little_endian(np.asarray(array))
    return Array(
        dtype=raw.dtype.name, shape=tuple(map(int, array.shape)), stype=RAW, data=raw.tobytes()
    )


def _from_flower(name: str, array: Any) -> NDArray[Any]:
    if not isinstance(array, Array) or array.stype != RAW or array.dtype not in DTYPES:
        raise ProtocolError(f"The array '{name}' is not in a form that is read here.")
    if any(not isinstance(side, int) or side < 0 for side in array.shape):
        raise ProtocolError(f"The array '{name}' has an impossible shape.")
    dtype = np.dtype(array.dtype).newbyteorder("<")
    if math.prod(array.shape) * dtype.itemsize != len(array.data):
        raise ProtocolError(f"The bytes of the array '{name}' do not fit its shape.")
    values = np.frombuffer(array.data, dtype=dtype).reshape(array.shape)
    return values.astype(np.dtype(array.dtype), copy=False)

"""A message in two buffers, for a pipe or a file, and a small one in one Flower object."""

from __future__ import annotations

import json

from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from motet.errors import ProtocolError
from motet.flower.records import PACKED, raw, reading
from motet.store import canonical_json

PARCEL = "parcel"
SMALL = 1_000_000
"""Bytes up to which a message travels as one object."""


def pack(content: RecordDict) -> tuple[bytes, bytes]:
    """The records of a message as text and the arrays' bytes.

    Raises
    ------
    ProtocolError
        When they are not those of a message.
    """
    with reading("A message"):
        head = {name: dict(content[name]) for name in ("envelope", "document")}
        packed = dict(content.array_records["arrays"]).get(PACKED)
        return canonical_json(head).encode(), b"" if packed is None else packed.data


def unpack(head: bytes, arrays: bytes) -> RecordDict:
    """The records that :func:`pack` took apart.

    Raises
    ------
    ProtocolError
        When the buffers hold something else.
    """
    with reading("A parcel"):
        stated = json.loads(head)
        return RecordDict(
            {
                "envelope": ConfigRecord(stated["envelope"]),
                "document": ConfigRecord(stated["document"]),
                "arrays": ArrayRecord({PACKED: raw(arrays)} if arrays else {}),
            }
        )


def parcel(content: RecordDict) -> RecordDict:
    """A small message as one Flower object: each object costs a request there and one back.

    A large one stays as it is, so that its arrays travel in chunks.
    """
    head, arrays = pack(content)
    if len(head) + len(arrays) > SMALL:
        return content
    return RecordDict({PARCEL: ConfigRecord({"head": head, "arrays": arrays})})


def unparcel(content: RecordDict) -> RecordDict:
    """What :func:`parcel` was given.

    Raises
    ------
    ProtocolError
        When the parcel holds something else.
    """
    if set(content) != {PARCEL}:
        return content
    with reading("A parcel"):
        held = content.config_records[PARCEL]
        head, arrays = held["head"], held["arrays"]
    if not isinstance(head, bytes) or not isinstance(arrays, bytes):
        raise ProtocolError("A parcel holds no bytes.")
    return unpack(head, arrays)

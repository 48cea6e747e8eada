"""The last replies of a site, on its disk: one that was lost is sent again, not made again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from flwr.app import RecordDict

from motet.flower.parcels import pack, unpack
from motet.store import OWNER, atomic

KEPT = 2
"""Replies kept: the last committed round and the one before it."""


class Outbox:
    """Replies by what they answer.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: tuple[object, ...], reply: RecordDict) -> None:
        """Keep a reply; the oldest are forgotten."""
        head, arrays = pack(reply)
        with atomic(self._path(key), "wb", readable_by=OWNER) as stream:
            stream.write(len(head).to_bytes(8, "little"))
            stream.write(head)
            stream.write(arrays)
        kept = sorted(self._folder.glob("*.reply"), key=lambda path: path.stat().st_mtime_ns)
        for path in kept[:-KEPT]:
            path.unlink(missing_ok=True)

    def get(self, key: tuple[object, ...]) -> RecordDict | None:
        """The reply to this very request, or None."""
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        length = int.from_bytes(content[:8], "little")
        return unpack(content[8 : 8 + length], content[8 + length :])

    def _path(self, key: tuple[object, ...]) -> Path:
        name = hashlib.sha256(json.dumps(list(key)).encode()).hexdigest()
        return self._folder / f"{name[:40]}.reply"

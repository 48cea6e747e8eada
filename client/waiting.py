"""The release that waits on a site's disk until its ledger entry is countersigned."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from motet.errors import ModelError, ProtocolError
from motet.flower.records import Body, Envelope
from motet.store import OWNER, canonical_json, read_arrays, write_arrays

ABOUT = "__about__"


@dataclass
class Waiting:
    """One release: a site does a phase at a time.

    Parameters
    ----------
    path : Path or None
        The file that holds it. None: it is held in memory.
    """

    path: Path | None
    _held: tuple[dict[str, Any], Body] | None = field(default=None, init=False)

    def hold(self, body: Body, number: int, *, to: Envelope) -> None:
        """Hold what is the answer to a request, in the place of what was held before.

        Parameters
        ----------
        body : Body
        number : int
            The entry that has to be countersigned.
        to : Envelope
            The request.
        """
        about = {**_asked(to), "number": number, "document": body.document}
        if self.path is None:
            self._held = (about, body)
            return
        text = np.frombuffer(canonical_json(about).encode(), dtype=np.uint8)
        write_arrays(self.path, {**body.arrays, ABOUT: text}, readable_by=OWNER)

    def held(self, to: Envelope) -> tuple[Body, int]:
        """What waits for a request, and the entry that has to be countersigned.

        Raises
        ------
        ProtocolError
            When something else waits, or nothing.
        """
        about, body = self._read()
        if {name: about.get(name) for name in _asked(to)} != _asked(to):
            raise ProtocolError(f"Nothing waits here of the phase '{to.phase}'.")
        return body, int(about["number"])

    def forget(self) -> None:
        """Hold nothing any more."""
        self._held = None
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Any], Body]:
        if self.path is None or not self.path.is_file():
            return self._held or ({}, Body())
        try:
            arrays = dict(read_arrays(self.path))
            about = json.loads(arrays.pop(ABOUT).tobytes())
        except (ModelError, KeyError, ValueError) as error:
            raise ProtocolError("The release that waits here cannot be read.") from error
        return about, Body(document=about["document"], arrays=arrays)


def _asked(to: Envelope) -> dict[str, str]:
    """What a request for a release and the one for its phase have in common."""
    return {"run": to.run, "plan": to.plan, "phase": to.phase}

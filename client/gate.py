"""The outgoing gate: the last thing before the transport. What is not declared does not leave."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motet.errors import ReleaseRefusedError
from motet.phases import Phase
from motet.plan import Plan
from motet.releases import Arrays, violations
from motet.store import json_hash, little_endian


class Gate:
    """Lets declared arrays pass and writes down what left.

    Parameters
    ----------
    site : str
    ledger : Path or None
        JSON lines, one a release: study, plan, phase, class, and of every array its name, dtype,
        shape, bytes and SHA-256. None keeps no file.
    """

    def __init__(self, site: str, *, ledger: Path | None = None) -> None:
        self._site, self._ledger = site, ledger

    def release(
        self, arrays: Arrays, *, plan: Plan, phase: Phase, path: str, sizes: Mapping[str, int]
    ) -> Arrays:
        """Return `arrays` if they are exactly what `phase` declares.

        Raises
        ------
        ReleaseRefusedError
            Says which array departs from its declaration, and how.
        """
        if found := violations(arrays, phase.releases, sizes):
            raise ReleaseRefusedError(
                f"The phase '{path}' would send what its plan does not declare: "
                f"{'; '.join(found)}. Nothing was sent.",
                site=self._site,
            )
        if arrays:
            self._record(plan, path, str(phase.leaves), arrays)
        return arrays

    def describe(
        self, description: Mapping[str, Any], declared: tuple[str, ...], *, study: str = ""
    ) -> Any:
        """Return a public description if it holds nothing but the declared keys."""
        if undeclared := sorted(set(description) - set(declared)):
            raise ReleaseRefusedError(
                f"The description would hold undeclared keys: {', '.join(undeclared)}.",
                site=self._site,
            )
        if self._ledger is not None:
            self._append(
                {
                    "study": study,
                    "phase": "schema",
                    "class": "schema",
                    "keys": sorted(description),
                    "sha256": json_hash(description),
                }
            )
        return description

    def _record(self, plan: Plan, path: str, leaves: str, arrays: Arrays) -> None:
        if self._ledger is None:
            return
        entry = {
            "study": plan.study,
            "plan": plan.hash,
            "phase": path,
            "class": leaves,
            "arrays": [
                {
                    "name": name,
                    "dtype": array.dtype.name,
                    "shape": list(array.shape),
                    "bytes": array.nbytes,
                    "sha256": hashlib.sha256(little_endian(array).tobytes()).hexdigest(),
                }
                for name, array in sorted(arrays.items())
            ],
        }
        self._append(entry)

    def _append(self, entry: Mapping[str, Any]) -> None:
        assert self._ledger is not None
        self._ledger.parent.mkdir(parents=True, exist_ok=True)
        with self._ledger.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

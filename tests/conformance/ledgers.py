"""What stands in a site's ledger, without the time at which it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from motet.ledger import Ledger


def released(folder: Path, *, kind: str = "release") -> list[dict[str, Any]]:
    """The entries of one kind in a folder's (or file's) ledger, in their order."""
    book = Ledger.found(folder if folder.is_file() else folder / "ledger.sqlite")
    assert book is not None
    assert book.problems() == []
    return [
        {name: value for name, value in entry.body.items() if name not in ("at", "kind")}
        for entry in book.entries(kind)
    ]

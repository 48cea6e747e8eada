"""The coordinator: asks, validates, concludes, checkpoints. It never sees a person's row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motet.server.coordinator import Coordinator, Outcome
    from motet.server.events import Event, Observer

__all__ = ["Coordinator", "Event", "Observer", "Outcome"]

_HOME = {
    "Coordinator": "motet.server.coordinator",
    "Event": "motet.server.events",
    "Observer": "motet.server.events",
    "Outcome": "motet.server.coordinator",
}


def __getattr__(name: str) -> Any:
    # On first use: a command that only looks at a folder needs no arithmetic.
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'motet.server' has no attribute '{name}'")

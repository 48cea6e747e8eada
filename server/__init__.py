"""The coordinator: asks, validates, concludes, checkpoints. It never sees a person's row."""

from motet.server.coordinator import Coordinator, Outcome
from motet.server.events import Event, Observer

__all__ = ["Coordinator", "Event", "Observer", "Outcome"]

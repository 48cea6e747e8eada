"""What the coordinator tells whoever watches: the CLI, a log, a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What happened."""

    PLANNED = "planned"
    RESUMED = "resumed"
    ANEW = "anew"
    PHASE = "phase"
    DONE = "done"
    TRAINED = "trained"
    LOST = "lost"
    SILENT = "silent"
    BACK = "back"
    VERSION = "version"
    RESTARTED = "restarted"
    HARMONIZING = "harmonizing"
    EVALUATING = "evaluating"
    JUDGING = "judging"
    COMPARING = "comparing"
    CONTROL = "control"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened. ``code`` is an error code, never a site's own words.

    Of a training: ``losses`` are means over all sites, ``sites`` each one's own where these can
    be read, ``left`` seconds to go, None where nothing says. Of a control ``phase`` is which is
    fitted now, ``step`` its number.
    """

    kind: Kind
    phase: str = ""
    site: str = ""
    code: str = ""
    step: int = 0
    steps: int = 0
    exchange: int = 0
    losses: Mapping[str, float] = field(default_factory=dict)
    sites: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    left: float | None = None


Observer = Callable[[Event], None]


def unobserved(event: Event) -> None:
    """Watch nothing."""

"""What a strategy is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from motet.phases import Phase
from motet.releases import Arrays

Ask = Callable[[Phase, Arrays], Mapping[str, Arrays]]
"""``(phase, shared) -> {site: arrays}``: one round; every reply has passed the validator."""

Strategy = Callable[[Any, Ask, Arrays], Arrays]
"""``(phase, ask, shared) -> additions`` to the shared model."""

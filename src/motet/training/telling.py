"""What a site's own log says of a training: its own losses, now and then."""

from __future__ import annotations

import logging

from motet.releases import Arrays
from motet.training.phase import LOSSES, SAMPLES, VALIDATED, VALIDATION, Train, Turn

log = logging.getLogger("motet.site")

LINES = 20
"""Lines of one training in a site's log, at most."""


def due(number: int, exchanges: int) -> bool:
    """Whether exchange `number` of so many has a line: the first, the last, some between."""
    last = max(1, exchanges - 1)
    return number == 0 or number * (LINES - 1) // last > (number - 1) * (LINES - 1) // last


def tell(train: Train, turn: Turn, site: str, arrays: Arrays, *, samples: int) -> None:
    """Say what this site's losses were in an exchange, where a line is due."""
    steps = train.steps(train.trained_of(samples))
    if turn.after == turn.first or not due(turn.number, train.exchanges(steps)):
        return
    if said := own_losses(train, turn, arrays):
        first = f"step {turn.after}" if turn.exact else f"steps {turn.first + 1} to {turn.after}"
        log.info("%s: '%s', %s of %d: %s", site, train.name, first, steps, said)


def own_losses(train: Train, turn: Turn, arrays: Arrays) -> str:
    """Mean losses of a site in one exchange; empty where nobody here had a turn."""
    names = train.names(turn)
    counts = dict(zip(dict.fromkeys(u for u, _ in names), arrays[SAMPLES], strict=True))
    said = [
        f"{update}.{name} {float(total) / int(counts[update]):.4g}"
        for (update, name), total in zip(names, arrays[LOSSES], strict=True)
        if counts[update]
    ]
    if turn.validates and int(arrays[VALIDATED]):
        said.append(f"validation {float(arrays[VALIDATION]) / int(arrays[VALIDATED]):.4g}")
    return ", ".join(said)

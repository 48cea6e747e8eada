"""The log of trainings as a table: ``training.csv``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from motet.errors import ModelError
from motet.store import EVERYBODY, atomic
from motet.training.phase import VALIDATED, VALIDATION

LOG = "training.csv"
WHERE = ("phase", "exchange", "step", "steps")
COUNTS = (*WHERE[1:], VALIDATED)
"""Columns of whole numbers."""
STEP_SIZE = "step_size."
"""Before a group's name: by what the mean of its changes was multiplied (FedExP)."""

WORSE, WORSE_ON_BATCHES = 1.25, 2.0
"""How many times the first value the last one is of a training that went wrong.

Those who validate are the same people each time, people of a step are not."""

Row = Mapping[str, Any]


def losses(row: Row) -> dict[str, float]:
    """Means over all sites of a line, without the validation: ``<update>.<loss>``."""
    known = (*WHERE, VALIDATION, VALIDATED, "sites")
    return {
        name: value
        for name, value in row.items()
        if name not in known and not name.startswith(STEP_SIZE)
    }


def cautions(rows: Sequence[Row], params: Mapping[str, Any]) -> tuple[str, ...]:
    """What to be told of before networks are used.

    Parameters
    ----------
    rows : sequence of mapping
        Of the log.
    params : mapping
        Of the plan.
    """
    said = "The preset 'tiny' is for tests: networks are small, or hardly trained. Take 'small'."
    tiny = params.get("train", {}).get("preset") == "tiny"
    return (*([said] if tiny else []), *got_worse(rows))


def got_worse(rows: Sequence[Row]) -> tuple[str, ...]:
    """A sentence for every training that ended far above where it began, though finite.

    By its validation, which begins before the first step, or by the sum of its losses where it has
    one update: of networks that are trained against each other a loss may well rise. In local mode
    the first line has all steps to the first exchange: what went wrong in them the validation alone
    shows. A private training logs neither.
    """
    found = []
    for phase in dict.fromkeys(str(row["phase"]) for row in rows):
        own = [row for row in rows if row["phase"] == phase]
        updates = {name.partition(".")[0] for row in own for name in losses(row)}
        sums = [sum(losses(row).values()) for row in own if losses(row)]
        judged = [row[VALIDATION] for row in own if VALIDATION in row]
        curves = [("validation loss", judged, WORSE)]
        curves += [("loss", sums, WORSE_ON_BATCHES)] if len(updates) == 1 else []
        found += [
            f"The training '{phase}' got worse: its {what} went from {values[0]:.4g} to "
            f"{values[-1]:.4g}. Lower the learning rate, and do not use these networks."
            for what, values, factor in curves
            if values and values[-1] > factor * values[0] > 0
        ]
    return tuple(found)


def write_log(path: Path, rows: Sequence[Row], *, readable_by: int = EVERYBODY) -> None:
    """Write all lines, atomically; the file is what a resumed run knows, no more and no less.

    Parameters
    ----------
    path : Path
    rows : sequence of mapping
        ``phase``, ``exchange``, ``step``, ``steps``, a mean a loss, ``validation`` with the step
        ``validated`` before which networks were judged, and ``sites``: site -> its own means,
        which become columns ``<site>/<loss>``. ``step_size.<group>`` where one was chosen.
    readable_by : int
        Mode of the file: of a site's own training that is its owner alone.
    """
    flat = [_flat(row) for row in rows]
    known = dict.fromkeys(name for row in rows for name in losses(row))
    judged = [name for name in (VALIDATION, VALIDATED) if any(name in row for row in flat)]
    sizes = sorted({name for row in flat for name in row if name.startswith(STEP_SIZE)})
    own = sorted({name for row in flat for name in row if "/" in name})
    with atomic(path, readable_by=readable_by) as stream:
        table = csv.DictWriter(stream, (*WHERE, *known, *judged, *sizes, *own), lineterminator="\n")
        table.writeheader()
        table.writerows(flat)


def _flat(row: Row) -> dict[str, Any]:
    of_sites = row.get("sites", {})
    return {
        **{name: value for name, value in row.items() if name != "sites"},
        **{f"{site}/{name}": v for site, own in of_sites.items() for name, v in own.items()},
    }


def read_log(path: Path) -> tuple[dict[str, Any], ...]:
    """The lines of a log, without what single sites have; empty where there is none.

    Raises
    ------
    ModelError
        When the file is damaged.
    """
    if not path.is_file():
        return ()
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return tuple(_typed(row) for row in csv.DictReader(stream, strict=True))
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ModelError("The log of the training is damaged.", file=path) from error


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"phase": row["phase"]} if "phase" in row else {}
    for name, text in row.items():
        if text and name != "phase" and "/" not in name:
            found[name] = int(text) if name in COUNTS else float(text)
    if not set(WHERE) <= set(found):
        raise ValueError("a line without its place")
    return found

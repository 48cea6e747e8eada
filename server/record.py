"""``run.json``: what a study was, who took part, and what the coordinator received."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any, Literal

from motet.plan import model_document
from motet.server.coordinator import Outcome
from motet.store import content_hash
from motet.version import __version__


def run_document(outcome: Outcome, *, mode: Literal["simulation", "deployed"]) -> dict[str, Any]:
    """The content of ``run.json``.

    Parameters
    ----------
    outcome : Outcome
    mode : {"simulation", "deployed"}
    """
    plan = outcome.plan
    return {
        "study": plan.study,
        "mode": mode,
        "method": plan.method,
        "seed": plan.seed,
        "motet": __version__,
        "versions": {
            "python": platform.python_version(),
            "numpy": version("numpy"),
            "flwr": version("flwr"),
        },
        "plan": plan.hash,
        "model": content_hash(outcome.shared, model_document(plan)),
        "people": _people(outcome),
        "batches": outcome.batches,
        "missing": dict(sorted(outcome.missing.items())),
        "unjudged": dict(sorted(outcome.unjudged.items())),
        "received": outcome.received,
    }


def _people(outcome: Outcome) -> int | None:
    """Rows of the fit, where the shared model or a sum of the evaluation released their number."""
    if "people" in outcome.shared and outcome.shared["people"].ndim == 0:
        return int(outcome.shared["people"])
    counts = [batch["fit"] for batch in outcome.batches]
    return None if None in counts else sum(counts)

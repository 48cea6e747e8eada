"""The record of a study: what it was, who took part, what was received, how it is judged."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from motet.evaluation.files import judgements_json, write_evaluation
from motet.evaluation.result import Judgement
from motet.harmonizer import Params
from motet.plan import model_document
from motet.server.coordinator import Outcome
from motet.store import content_hash, write_json
from motet.training.options import TrainedParams
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
            **_torch(plan.params),
        },
        "plan": plan.hash,
        "model": content_hash(outcome.shared, model_document(plan)),
        "people": _people(outcome),
        "batches": outcome.batches,
        "missing": dict(sorted(outcome.missing.items())),
        "unjudged": dict(sorted(outcome.unjudged.items())),
        "received": outcome.received,
    }


def _torch(params: Params) -> dict[str, str]:
    """The version of torch where networks were trained, and it is here."""
    if not isinstance(params, TrainedParams) or find_spec("torch") is None:
        return {}
    return {"torch": version("torch")}


def write_record(
    folder: Path,
    outcome: Outcome,
    *,
    mode: Literal["simulation", "deployed"],
    judgements: Mapping[str, Judgement],
    simulated: Mapping[str, Any] | None = None,
) -> str:
    """Write ``run.json``, ``evaluation.npz`` and ``metrics.json``; the model's content hash.

    Parameters
    ----------
    folder : Path
    outcome : Outcome
    mode : {"simulation", "deployed"}
    judgements : mapping of str to Judgement
    simulated : mapping, optional
        What only a simulation can tell, for ``metrics.json``.
    """
    document = run_document(outcome, mode=mode)
    metrics = {
        "study": outcome.plan.study,
        "plan": outcome.plan.hash,
        "judgements": judgements_json(judgements),
        "missing": dict(outcome.missing),
        **(simulated or {}),
    }
    write_json(folder / "run.json", document)
    write_evaluation(folder, judgements)
    write_json(folder / "metrics.json", metrics)
    return str(document["model"])


def _people(outcome: Outcome) -> int | None:
    """Rows of the fit, where the shared model or a sum of the evaluation released their number."""
    if "people" in outcome.shared and outcome.shared["people"].ndim == 0:
        return int(outcome.shared["people"])
    counts = [batch["fit"] for batch in outcome.batches]
    return None if None in counts else sum(counts)

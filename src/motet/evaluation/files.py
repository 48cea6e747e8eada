"""Judgements in a study's folder: numbers in metrics.json, arrays in evaluation.npz."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motet.evaluation.result import Judgement
from motet.store import read_arrays, write_arrays

ARRAYS = "evaluation.npz"


def judgements_json(judgements: Mapping[str, Judgement]) -> dict[str, Any]:
    """What stands under ``judgements`` in metrics.json."""
    return {source: judgement.to_json() for source, judgement in judgements.items()}


def write_evaluation(folder: Path, judgements: Mapping[str, Judgement]) -> None:
    """Write ``evaluation.npz``; without judgements there is none."""
    if not judgements:
        (folder / ARRAYS).unlink(missing_ok=True)
        return
    arrays = {
        f"{source}/{name}": array
        for source, judgement in judgements.items()
        for name, array in judgement.arrays.items()
    }
    write_arrays(folder / ARRAYS, arrays)


def read_judgements(folder: Path, metrics: Mapping[str, Any]) -> dict[str, Judgement]:
    """The judgements of a folder, given its metrics.json; without arrays where there are none."""
    documents = metrics.get("judgements") or {}
    arrays = read_arrays(folder / ARRAYS) if documents and (folder / ARRAYS).is_file() else {}
    return {
        source: Judgement.from_json(
            document,
            {
                name.removeprefix(f"{source}/"): array
                for name, array in arrays.items()
                if name.startswith(f"{source}/")
            },
        )
        for source, document in documents.items()
    }

"""The files of a finished study, as far as they are public: what the study report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import ModelError
from motet.evaluation.files import read_judgements
from motet.evaluation.result import Judgement
from motet.images.measures import contrasts_of
from motet.schema import Batch
from motet.store import load_model, read_json
from motet.training.log import LOG, read_log

SOURCES = ("simulation", "sums")
"""Judgements, the fuller first."""


@dataclass(frozen=True, kw_only=True)
class StudyFiles:
    """What DIR holds of a finished study, without its sites.

    Attributes
    ----------
    run, plan, metrics : mapping
        ``run.json``, ``plan.json`` and ``metrics.json``.
    judgements : mapping of str to Judgement
        ``simulation`` and ``sums``, those there are, with their arrays.
    shared : dict of str to ndarray
        The shared model; empty where it is not in the folder.
    training : tuple of mapping
        The log of trainings, over all sites (:mod:`motet.training.log`); empty where none was.
    """

    run: Mapping[str, Any]
    plan: Mapping[str, Any]
    metrics: Mapping[str, Any]
    judgements: Mapping[str, Judgement] = field(default_factory=dict)
    shared: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    training: tuple[Mapping[str, Any], ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether all sites ran in one process."""
        return bool(self.run.get("mode") == "simulation")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the p features."""
        return tuple(self.plan["schema"]["features"])

    @property
    def axis(self) -> tuple[str, ...]:
        """The batches of the fit, in the order of an evaluation's batch axis."""
        return tuple(str(Batch(str(s), str(b))) for s, b in self.plan["schema"]["batches"])

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Of the images that were harmonized and judged; none in a study of tables."""
        return contrasts_of(self.features)

    @property
    def trained(self) -> bool:
        """Whether the method trains networks."""
        return bool(self.plan.get("params", {}).get("train"))

    @property
    def batches(self) -> tuple[Mapping[str, Any], ...]:
        """Batches with site, role and, where they were released, counts."""
        return tuple(self.run.get("batches", ()))

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites that took part, unseen ones too, sorted."""
        return tuple(sorted({str(batch["site"]) for batch in self.batches}))

    @property
    def fitted(self) -> tuple[Mapping[str, Any], ...]:
        """The batches of the fit."""
        return tuple(batch for batch in self.batches if batch.get("role") != "unseen")

    @property
    def unseen(self) -> tuple[str, ...]:
        """Sites that took no part in the fit, sorted."""
        return tuple(sorted({str(b["site"]) for b in self.batches if b.get("role") == "unseen"}))

    @property
    def people(self) -> int | None:
        """Rows of the fit: the shared model's released count."""
        people = self.run.get("people")
        return None if people is None else int(people)

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """(site, sentence) of a simulation; no site where it is of the study."""
        found = self.metrics.get("warnings") or ()
        return tuple((str(warning["site"]), str(warning["warning"])) for warning in found)

    @property
    def missing(self) -> Mapping[str, str]:
        """Sites that did not make it -> code of the reason."""
        return dict(self.run.get("missing") or {})

    @property
    def judgement(self) -> Judgement | None:
        """The fullest judgement; None where the study was not judged."""
        return next((self.judgements[s] for s in SOURCES if s in self.judgements), None)

    def by_feature(self, name: str) -> NDArray[np.float64] | None:
        """An array of one entry a feature, of the fullest judgement that has it."""
        for source in SOURCES:
            if source in self.judgements and name in self.judgements[source].arrays:
                return np.asarray(self.judgements[source].arrays[name], dtype=np.float64)
        return None


def read_study(folder: Path) -> StudyFiles:
    """Read a finished study.

    Raises
    ------
    ModelError
        Names the file that is missing or damaged.
    """
    if not (folder / "run.json").is_file():
        raise ModelError(
            "There is no finished study here: run.json is missing.",
            do="Name the folder that 'motet simulate --out' wrote.",
            file=folder,
        )
    metrics = _document(folder / "metrics.json") if (folder / "metrics.json").is_file() else {}
    judged = read_judgements(folder, metrics)
    shared = load_model(folder / "shared")[0] if (folder / "shared").is_dir() else {}
    return StudyFiles(
        run=_document(folder / "run.json"),
        plan=_document(folder / "plan.json"),
        metrics=metrics,
        judgements={source: judged[source] for source in SOURCES if source in judged},
        shared=shared,
        training=read_log(folder / LOG),
    )


def _document(path: Path) -> Mapping[str, Any]:
    document = read_json(path)
    if not isinstance(document, dict):
        raise ModelError("The file does not hold what Motet writes.", file=path)
    return document

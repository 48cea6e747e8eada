"""The folder that a deployed study writes at the coordinator: what was released, nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet.config import Study
from motet.errors import ModelError, OutputFolderError
from motet.plan import Plan, model_document
from motet.releases import Arrays
from motet.report import ReportExtraError, write_study_report
from motet.server.coordinator import Outcome
from motet.server.record import write_record
from motet.store import json_hash, read_json, save_model, sweep, write_json
from motet.supervise import only_writer
from motet.training.log import LOG, write_log


@dataclass(frozen=True)
class StudyFolder:
    """The layout is that of ``motet simulate --out``, without ``sites/``."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The coordinator's progress while a run is not complete."""
        return self.path / ".progress.npz"

    @contextmanager
    def claimed(self, study: Study, sites: Sequence[str]) -> Iterator[None]:
        """Hold the folder for one run of one study.

        Raises
        ------
        OutputFolderError
            When it holds something else, another study, or a run that is going on.
        """
        self.check(study)
        with only_writer(self.path):
            sweep(self.path)
            asked = {"study": json_hash(study.public()), "sites": sorted(sites)}
            write_json(self.path / "asked.json", asked)
            yield

    def check(self, study: Study) -> None:
        """Refuse a folder that is not this study's."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise OutputFolderError("This is a file, not a folder.", file=self.path)
        if not any(self.path.iterdir()):
            return
        try:
            held = read_json(self.path / "asked.json")["study"]
        except (ModelError, KeyError, TypeError) as error:
            raise OutputFolderError(
                "The folder is not empty and holds no deployed Motet study.",
                do="Name a new folder.",
                file=self.path,
            ) from error
        if held != json_hash(study.public()):
            raise OutputFolderError(
                "The folder holds another study.",
                do="Name a new folder, or remove this one if it is no longer needed.",
                file=self.path,
            )

    def write_model(self, plan: Plan, shared: Arrays) -> None:
        """Write plan and shared model."""
        write_json(self.path / "plan.json", plan.to_json())
        save_model(self.path / "shared", shared, model_document(plan))

    def write_log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the log of trainings."""
        write_log(self.path / LOG, rows)

    def write(self, outcome: Outcome) -> str:
        """Write the record; the model's content hash."""
        judgements = {"sums": outcome.judgement} if outcome.judgement else {}
        return write_record(self.path, outcome, mode="deployed", judgements=judgements)

    def report(self) -> str:
        """Write the study report; returns why there is none, or an empty text."""
        try:
            write_study_report(self.path, site_pages="left out")
        except ReportExtraError as error:
            return str(error)
        return ""

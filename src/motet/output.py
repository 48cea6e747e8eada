"""The folder that ``motet simulate --out`` writes, and the check that it is ours to write to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.opening import open_site
from motet.client.worker import model_document
from motet.config import Study
from motet.errors import (
    DataError,
    DesignError,
    OutputFolderError,
    PlanError,
    SchemaError,
    StudyFileError,
    listed,
)
from motet.evaluation.site_effect import SiteEffect
from motet.harmonizer import Params
from motet.plan import Plan, build_plan
from motet.schema import Schema
from motet.server import Outcome
from motet.store import PARTIAL, save_model, write_json


@dataclass(frozen=True)
class OutputFolder:
    """The layout of DESIGN's ``motet simulate … --out DIR``."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The coordinator's progress while a run is not complete."""
        return self.path / ".progress.npz"

    def site(self, site: str) -> Path:
        """The folder of one site."""
        return self.path / "sites" / site

    def harmonized(self, site: str) -> Path:
        """The BIDS derivative of one site."""
        return self.site(site) / "harmonized"

    @contextmanager
    def claimed(self, study: Study, schema: Schema) -> Iterator[None]:
        """Make the folder this study's for a run; leave nothing behind that says otherwise.

        When the study turns out to be impossible, what was begun is taken away. What an
        interrupted run has done stays, for the next to go on with.
        """
        for site, data in study.sites.items():
            if self.path.resolve().is_relative_to(data.resolve()):
                raise OutputFolderError(
                    f"The folder lies within the data of site '{site}'.",
                    do="Name a folder outside of every site's data.",
                    file=self.path,
                )
        existed = self.path.exists()
        fresh = not existed or (self.path.is_dir() and not self._entries())
        self._claim(study, schema)
        try:
            yield
        except (DataError, DesignError, PlanError, SchemaError, StudyFileError):
            self._discard(everything=fresh)
            if not existed:
                self.path.rmdir()
            raise

    def _claim(self, study: Study, schema: Schema) -> None:
        """Make the folder this study's, or refuse.

        Raises
        ------
        OutputFolderError
            When it holds another study, or files that are not Motet's.
        """
        plan = build_plan(study, schema)
        try:
            if self.path.exists() and not self.path.is_dir():
                raise OutputFolderError("This is a file, not a folder.", file=self.path)
            if self.path.is_dir() and self._entries():
                self._check_owner(plan, study)
            for partial in self.path.rglob(f"*{PARTIAL}"):
                partial.unlink()
            self._write_plan(plan, study.sites)
        except OSError as error:
            raise OutputFolderError(
                f"The folder cannot be written: {error.strerror}.", file=self.path
            ) from error

    def _entries(self) -> list[Path]:
        """What is in the folder, without what a crash before plan.json left."""
        return [entry for entry in self.path.iterdir() if not entry.name.endswith(PARTIAL)]

    def _discard(self, *, everything: bool) -> None:
        """Take away what a run that cannot succeed has begun.

        Everything where the folder was this run's own; else only its progress, so that an earlier
        result stays as it was.
        """
        if everything:
            for entry in self.path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            return
        for left in (self.checkpoint, *self.path.glob("sites/*/.keep.npz*")):
            left.unlink(missing_ok=True)

    def _write_plan(self, plan: Plan, sites: Iterable[str]) -> None:
        write_json(self.path / "plan.json", {**plan.to_json(), "sites": sorted(sites)})

    def _check_owner(self, plan: Plan, study: Study) -> None:
        try:
            held = json.loads((self.path / "plan.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            held = None
        if not isinstance(held, dict) or "hash" not in held:
            raise OutputFolderError(
                "The folder is not empty and holds no Motet study.",
                do="Name a new folder.",
                file=self.path,
            )
        before = held.get("sites") or []
        if held["hash"] == plan.hash and before != sorted(study.sites):
            raise OutputFolderError(
                f"The folder holds this study with other sites ({listed(before)}).",
                do="Name a new folder: what is left of the others would be mistaken for results.",
                file=self.path,
            )
        if held["hash"] != plan.hash:
            raise OutputFolderError(
                f"The folder holds another study ('{held.get('study')}', plan "
                f"{str(held['hash'])[:12]}; this is '{plan.study}', plan {plan.hash[:12]}).",
                do="Name a new folder, or remove this one if it is no longer needed.",
                file=self.path,
            )

    def write_model(self, outcome: Outcome, study: Study) -> None:
        """Write plan and shared model; ``sites`` are those asked, the schema has those present."""
        self._write_plan(outcome.plan, study.sites)
        save_model(self.path / "shared", outcome.shared, model_document(outcome.plan))

    def harmonized_values(self, tables: Mapping[str, Table]) -> dict[str, NDArray[np.float64]]:
        """Read back what was written: site -> (n, p)."""
        return {
            site: _reread(self.harmonized(site), table)
            for site, table in tables.items()
            if self.harmonized(site).is_dir()
        }

    def write_metrics(
        self,
        plan: Plan,
        effect: SiteEffect,
        *,
        missing: Mapping[str, str],
        warnings: Sequence[tuple[str, str]],
    ) -> None:
        """Write ``metrics.json``."""
        document: dict[str, Any] = {
            "study": plan.study,
            "plan": plan.hash,
            "site_effect": effect.to_json(),
            "missing": dict(missing),
            "warnings": [{"site": site, "warning": text} for site, text in warnings],
        }
        write_json(self.path / "metrics.json", document)


def _reread(folder: Path, like: Table) -> NDArray[np.float64]:
    if like.form == "npy":
        return np.asarray(np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False))
    return open_site(folder, site=like.site, params=Params()).values

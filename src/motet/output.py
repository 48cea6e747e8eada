"""The folder that ``motet simulate --out`` writes, and the check that it is ours to write to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.description import is_harmonized
from motet.bids.folder import check_target
from motet.bids.table import Table
from motet.client.apply import Blocks
from motet.client.site_result import reread, write_cohort
from motet.client.worker import FINISHED
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
from motet.evaluation.result import Judgement
from motet.evaluation.site_effect import SiteEffect
from motet.images.derivatives import written
from motet.images.images import Images
from motet.plan import Plan, model_document
from motet.releases import Arrays
from motet.report import ABOUT, ReportExtraError, write_site_report, write_study_report
from motet.server import Outcome
from motet.server.record import write_record
from motet.sites import masks
from motet.store import PARTIAL, read_json, save_model, write_json
from motet.supervise import only_writer
from motet.training.log import LOG, write_log
from motet.training.options import TrainedParams


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

    @property
    def _finished(self) -> Path:
        """Of which plan and data the training is complete."""
        return self.path / ".finished.json"

    @contextmanager
    def claimed(self, study: Study, plan: Plan, data: Mapping[str, str]) -> Iterator[None]:
        """Make the folder this study's for a run; leave nothing behind that says otherwise.

        When the study turns out to be impossible, what was begun is taken away. What an
        interrupted run has done stays, for the next to go on with. When it comes to its end, the
        folder is complete.

        Parameters
        ----------
        study : Study
        plan : Plan
            The study's, over all its sites.
        data : mapping of str to str
            Site -> fingerprint of its data.

        Raises
        ------
        OutputFolderError
            When it holds another study, files that are not Motet's, a run that is going on, or
            networks that were trained for this study on these data: hours would be lost.
        """
        for site, home in study.sites.items():
            if self.path.resolve().is_relative_to(home.resolve()):
                raise OutputFolderError(
                    f"The folder lies within the data of site '{site}'.",
                    do="Name a folder outside of every site's data.",
                    file=self.path,
                )
        existed = self.path.exists()
        with only_writer(self.path):
            fresh = not self._entries()
            complete = {"plan": plan.hash, "data": dict(sorted(data.items()))}
            if not fresh:
                self._check_owner(plan, study)
                self._check_unfinished(complete)
            try:
                self._prepare(plan, study, fresh)
                yield
                # What is not trained is soon made again, the same.
                if isinstance(plan.params, TrainedParams):
                    write_json(self._finished, complete)
            except (DataError, DesignError, OutputFolderError, PlanError, SchemaError) as error:
                self._take_back(fresh, existed)
                raise error from None
            except StudyFileError:
                self._take_back(fresh, existed)
                raise

    def _prepare(self, plan: Plan, study: Study, fresh: bool) -> None:
        try:
            for partial in self.path.rglob(f"*{PARTIAL}"):
                partial.unlink()
            for partial in self.path.glob("sites/*/.harmonized.partial-*"):
                shutil.rmtree(partial)
            self._finished.unlink(missing_ok=True)
            for site in study.sites:
                check_target(self.harmonized(site), may_replace=is_harmonized)
            if fresh:
                asked = {"hash": plan.hash, **_who(study)}
                write_json(self.path / "plan.json", {**plan.to_json(), "asked": asked})
        except OSError as error:
            raise OutputFolderError(
                f"The folder cannot be written: {error.strerror}.", file=self.path
            ) from error

    def _take_back(self, fresh: bool, existed: bool) -> None:
        """Take away what a run that cannot succeed has begun; an earlier result stays."""
        if not fresh:
            left = [self.checkpoint]
            for name in (".keep.npz*", FINISHED):
                left += self.path.glob(f"sites/*/{name}")
            for path in left:
                path.unlink(missing_ok=True)
            return
        for entry in self.path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if not existed:
            self.path.rmdir()

    def _entries(self) -> list[Path]:
        """What is in the folder, without what a crash before plan.json left."""
        return [entry for entry in self.path.iterdir() if not entry.name.endswith(PARTIAL)]

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
        asked = held.get("asked") or {}
        before = {key: asked[key] for key in ("sites", "unseen") if asked.get(key)}
        if asked.get("hash") == plan.hash and before != _who(study):
            unseen = before.get("unseen")
            raise OutputFolderError(
                f"The folder holds this study with other sites ({listed(before.get('sites', ()))}"
                f"{f'; unseen: {listed(unseen)}' if unseen else ''}).",
                do="Name a new folder: what is left of the others would be mistaken for results.",
                file=self.path,
            )
        if asked.get("hash") != plan.hash:
            same = held.get("study") == plan.study
            this = "asked for otherwise" if same else f"this is '{plan.study}'"
            raise OutputFolderError(
                f"The folder holds another plan, '{held.get('study')}' "
                f"({str(asked.get('hash'))[:12]}); {this} ({plan.hash[:12]}).",
                do="Name a new folder, or remove this one if it is no longer needed.",
                file=self.path,
            )

    def _check_unfinished(self, complete: Mapping[str, Any]) -> None:
        if self._finished.is_file() and read_json(self._finished) == complete:
            raise OutputFolderError(
                "The study is finished here: these networks were trained on these data.",
                do=f"'motet report {self.path}' makes its pages again. To train again, name a new "
                "folder, or remove this one if it is no longer needed.",
                file=self.path,
            )

    def write_model(self, plan: Plan, shared: Arrays) -> None:
        """Write plan and shared model.

        ``asked`` in plan.json says what the folder belongs to; the plan itself can be that of
        fewer sites, where some were lost.
        """
        asked = read_json(self.path / "plan.json")["asked"]
        write_json(self.path / "plan.json", {**plan.to_json(), "asked": asked})
        save_model(self.path / "shared", shared, model_document(plan))

    def write_log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the log of trainings."""
        write_log(self.path / LOG, rows)

    def write_cohort(self, tables: Mapping[str, Table], plan: Plan) -> None:
        """Write at each site who was in the fit and who was held out; it stays there."""
        for site, fit in masks(tables, plan).items():
            others = "unseen" if site in plan.unseen else "held_out"
            write_cohort(self.site(site), tables[site], fit, others=others)

    def drop(self, sites: Iterable[str]) -> None:
        """Take away the results of sites that are not in the model: they are of an earlier run."""
        for site in sites:
            for part in ("model", "harmonized"):
                shutil.rmtree(self.site(site) / part, ignore_errors=True)
            for name in ("report.html", LOG):
                (self.site(site) / name).unlink(missing_ok=True)

    def harmonized_values(self, tables: Mapping[str, Table]) -> dict[str, NDArray[np.float64]]:
        """Read back what was written: site -> (n, p)."""
        return {site: reread(self.harmonized(site), table) for site, table in tables.items()}

    def harmonized_images(
        self, tables: Mapping[str, Table], method: str
    ) -> Callable[[str], Blocks]:
        """Read back what was written: site -> its images, one at a time."""

        def of(site: str) -> Blocks:
            table, folder = tables[site], self.harmonized(site)
            assert isinstance(table, Images)
            parts = table.each_contrast()
            for row in range(len(table)):
                own = [written(folder, part, row, method) for part in parts]
                yield slice(row, row + 1), (np.stack(own) if len(own) > 1 else own[0])[None]

        return of

    def write_evaluation(
        self,
        outcome: Outcome,
        effect: SiteEffect,
        judgements: Mapping[str, Judgement],
        *,
        warnings: Sequence[tuple[str, str]],
    ) -> None:
        """Write ``run.json``, ``evaluation.npz`` and ``metrics.json``."""
        write_record(
            self.path,
            outcome,
            mode="simulation",
            judgements=judgements,
            simulated={
                "site_effect": effect.to_json(),
                "warnings": [{"site": site, "warning": text} for site, text in warnings],
            },
        )

    def write_reports(
        self,
        tables: Mapping[str, Table],
        values: Mapping[str, NDArray[np.float64]],
        plan: Plan,
        *,
        warnings: Sequence[tuple[str, str]],
    ) -> tuple[tuple[str, str], ...]:
        """Write each site's report, then the study's; says, once, where the extra is missing."""
        run = read_json(self.path / "run.json")
        about = {key: run[key] for key in ABOUT}
        try:
            for site, fit in masks(tables, plan).items():
                write_site_report(
                    self.site(site),
                    raw=tables[site],
                    harmonized=values[site],
                    fit=fit,
                    about=about,
                    warnings=[text for name, text in warnings if name == site],
                )
            write_study_report(self.path, site_pages="shown")
        except ReportExtraError as error:
            return (("", str(error)),)
        return ()


def _who(study: Study) -> dict[str, list[str]]:
    """Which sites a study asks for, and which of them take no part in the fit."""
    unseen = sorted(study.evaluation.unseen)
    return {"sites": sorted(study.sites), **({"unseen": unseen} if unseen else {})}

"""All sites in one process: the same coordinator, workers and gate as deployed.

:func:`run_sites` runs a study over given sites on the in-process grid. :func:`simulate` reads
folders, writes what ``motet simulate --out`` promises, and resumes an interrupted run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from flwr.app import Context, RecordDict
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from motet.agreement import agree
from motet.bids.read import fingerprint
from motet.bids.table import Table, as_slice
from motet.client.app import client_app
from motet.client.apply import Blocks
from motet.client.opening import open_site
from motet.client.worker import Sink, SiteWorker, Writer
from motet.config import Study, load_study, naming, parse_study
from motet.controls import full_judgement
from motet.errors import MotetError, QuorumError, StudyFileError, listed, nearest
from motet.evaluation.images.true_images import TrueImages
from motet.evaluation.result import Judgement
from motet.evaluation.site_effect import SiteEffect, site_effect
from motet.flower.inprocess import InProcessGrid
from motet.harmonizer import SiteModel
from motet.images.derivatives import derivative_writer
from motet.output import OutputFolder
from motet.plan import Plan, biology, model_document, parse_params
from motet.releases import Arrays
from motet.schema import Schema
from motet.server import Coordinator, Observer, Outcome
from motet.server.app import server_app
from motet.server.coordinator import unstored
from motet.server.events import unobserved
from motet.server.runner import Rows, unwritten
from motet.store import content_hash, json_hash
from motet.training.where import Device, check_device

Reports = Literal["now", "later"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished study.

    Attributes
    ----------
    plan : Plan
    shared : dict of str to ndarray
        The shared model: what all sites get.
    sha256 : str
        Its content hash.
    models : dict of str to SiteModel
        Site -> what stays there.
    values : dict of str to ndarray
        Site -> (n, p) harmonized values; empty where they were written to folders.
    missing : dict of str to str
        Sites that did not make it, with the code of the reason.
    warnings : tuple of (site, sentence)
    out : Path or None
    site_effect : SiteEffect or None
    judgements : dict of str to Judgement
        ``sums``: what a deployed study would have, too. ``simulation``: what needs everybody in
        one place.
    outcome : Outcome or None
        The coordinator's.
    """

    plan: Plan
    shared: dict[str, NDArray[Any]]
    sha256: str
    models: dict[str, SiteModel]
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    warnings: tuple[tuple[str, str], ...] = ()
    out: Path | None = None
    site_effect: SiteEffect | None = None
    judgements: dict[str, Judgement] = field(default_factory=dict)
    outcome: Outcome | None = None

    @property
    def schema(self) -> Schema:
        """What the sites agreed on."""
        return self.plan.schema


class ArrayWriter:
    """Keeps harmonized values in an array; of images, their measures."""

    def __init__(self, table: Table, values: NDArray[np.float64]) -> None:
        self._table, self._values = table, values

    def write(self, rows: slice | NDArray[np.intp], block: NDArray[Any]) -> None:
        """Take values of some people, (r, p) or images."""
        kept, found = self._table.rows, self._table.measured(rows, block)
        self._values[rows if kept is None else as_slice(kept[rows])] = found


@contextmanager
def array_sink(table: Table, values: NDArray[np.float64]) -> Iterator[Writer]:
    """Write the people of `table` into their rows of `values`."""
    yield ArrayWriter(table, values)


class _Watch:
    """Collects, in simulation only, what each site says to itself."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, str]] = []
        self.errors: dict[str, Exception] = {}

    def say(self, site: str) -> Callable[[str], None]:
        def say(sentence: str) -> None:
            if (site, sentence) not in self.warnings:  # a run that starts over says it again
                self.warnings.append((site, sentence))

        return say


def run_sites(
    study: Study,
    tables: Mapping[str, Table],
    *,
    sink_of: Callable[[str], Sink],
    folder_of: Callable[[str], Path | None] = lambda site: None,
    fingerprint_of: Callable[[str], str] = lambda site: "",
    checkpoint: Path | None = None,
    store: Callable[[Plan, Arrays], None] = unstored,
    log: Callable[[Rows], None] = unwritten,
    device: Device = "cpu",
    observe: Observer = unobserved,
) -> Result:
    """Run a study over tables that are open, on the in-process grid.

    Parameters
    ----------
    study : Study
    tables : mapping of str to Table
        Site -> its data.
    sink_of : callable
        Site -> where its harmonized values go.
    folder_of : callable
        Site -> its own folder, or None.
    checkpoint : Path, optional
    store : callable
        Gets plan and shared model before the sites harmonize with it.
    log : callable
        Gets all lines of the log of trainings, again and again.
    device : {"auto", "cpu", "cuda"}
        Where networks are trained.
    observe : Observer

    Raises
    ------
    MotetError
        The site's own error where a lost site ends the run: in simulation all data are one
        person's. Deployed, only a code would be known.
    """
    watch = _Watch()
    workers = {
        site: SiteWorker(
            name=site,
            open_table=_already_open(table),
            sink=sink_of(site),
            folder=folder_of(site),
            fingerprint=fingerprint_of(site),
            secret=_secret(study, site, fingerprint_of(site)),
            device=device,
            say=watch.say(site),
            failed=watch.errors.__setitem__,
        )
        for site, table in tables.items()
    }
    app = client_app(lambda context: workers[str(context.node_config["site"])])
    grid = InProcessGrid(dict.fromkeys(tables, app))
    outcomes: list[Outcome] = []

    server = server_app(
        lambda grid, context: Coordinator(
            grid,
            study,
            quorum=max(2, len(set(tables) - set(study.evaluation.unseen))),
            checkpoint=checkpoint,
            store=store,
            log=log,
            observe=observe,
        ),
        outcomes.append,
    )
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    try:
        # Sites run side by side; one thread of linear algebra each, whatever the machine, keeps
        # the last bits of a result from depending on its cores.
        with threadpool_limits(1, user_api="blas"):
            server(grid, context)
    except QuorumError as error:
        for site in sorted(watch.errors):
            raise watch.errors[site] from error
        raise
    finally:
        grid.close()
    outcome = outcomes[0]
    return Result(
        plan=outcome.plan,
        shared=outcome.shared,
        sha256=content_hash(outcome.shared, model_document(outcome.plan)),
        models={site: w.model for site, w in workers.items() if w.model is not None},
        missing=outcome.missing,
        warnings=tuple(sorted(watch.warnings, key=lambda warning: warning[0])),
        judgements={} if outcome.judgement is None else {"sums": outcome.judgement},
        outcome=outcome,
    )


def _secret(study: Study, site: str, data: str) -> bytes:
    """What a site has for a secret where there is nobody to keep it from.

    The same for the same data, so that a run that goes on masks alike; another for others, since
    nothing is masked twice.
    """
    return json_hash({"simulated": study.public(), "site": site, "data": data}).encode()


def _already_open(table: Table) -> Callable[[Any], Table]:
    def open_table(params: Any, biology: Sequence[str] = ()) -> Table:
        return table

    return open_table


def as_study(study: Study | Path | str | Mapping[str, Any]) -> Study:
    """A study given as itself, a file, or a dictionary."""
    if isinstance(study, Study):
        return study
    if isinstance(study, str | Path):
        return load_study(Path(study))
    return parse_study(study)


def open_sites(
    study: Study, say: Callable[[str, str], None] = lambda site, sentence: None
) -> dict[str, Table]:
    """Read the folders of all sites of a study file; `say` is told what a site should know."""
    params = parse_params(study)
    if not study.sites:
        raise StudyFileError(
            "A simulation needs the sites' folders.",
            do="Add 'sites: {hospital_a: path/to/a, hospital_b: path/to/b}'.",
            key="sites",
        )
    if len(study.sites) < 2:
        raise StudyFileError(
            f"There is one site only ({next(iter(study.sites))}): a federation needs two or more.",
            do="Add a site, or harmonize the scanners of one site with motet.harmonize.",
            key="sites",
        )
    if study.evaluation.truth is not None:
        TrueImages(study.evaluation.truth).check_study(params)
    fitting = _fitting(study)
    if (study.federation.quorum or 2) > len(fitting):
        raise StudyFileError(
            f"A quorum of {study.federation.quorum} cannot be reached with {len(fitting)} sites.",
            key="federation.quorum",
        )
    _check_folders(study)
    return {
        site: open_site(
            folder,
            site=site,
            params=params,
            biology=biology(study),
            say=partial(say, site),
        )
        for site, folder in sorted(study.sites.items())
    }


def _fitting(study: Study) -> list[str]:
    """The sites of the fit: those that are not unseen."""
    for site in study.evaluation.unseen:
        if site not in study.sites:
            raise StudyFileError(
                f"The unseen site '{site}' is not among the sites.",
                do=nearest(site, study.sites) or f"They are: {listed(sorted(study.sites))}.",
                key="evaluation.unseen",
            )
    fitting = sorted(set(study.sites) - set(study.evaluation.unseen))
    if len(fitting) < 2:
        raise StudyFileError(
            f"Without the unseen sites {listed(fitting) or 'nobody'} is left for the fit: a "
            "federation needs two sites or more.",
            do="Take a site out of evaluation.unseen.",
            key="evaluation.unseen",
        )
    return fitting


def agreed(study: Study, tables: Mapping[str, Table]) -> Schema:
    """The schema that the sites of these tables agree on."""
    return agree(
        [table.described for table in tables.values()],
        biology=biology(study),
        unseen=study.evaluation.unseen,
    )


def _check_folders(study: Study) -> None:
    """Refuse one folder under two names: its people would count twice."""
    seen: dict[Path, str] = {}
    for site, folder in sorted(study.sites.items()):
        place = folder.resolve()
        if place in seen:
            raise StudyFileError(
                f"'{seen[place]}' and '{site}' are one folder ({folder}): its people would count "
                "twice.",
                key=f"sites.{site}",
            )
        seen[place] = site


def simulate(
    study: Study | Path | str | Mapping[str, Any],
    *,
    out: Path | str | None = None,
    observe: Observer = unobserved,
    reports: Reports = "now",
    device: Device = "auto",
) -> Result:
    """Run a study with all sites in this process.

    Parameters
    ----------
    study : Study, path of a study file, or dict
        Its ``sites`` say where each site's folder is.
    out : path, optional
        Where to write (see ``docs/reference/files.md``); None keeps everything in memory.
    observe : Observer
        Told of every phase.
    reports : {"now", "later"}
        ``later``: write none; ``motet report`` makes them from the folder.
    device : {"auto", "cpu", "cuda"}
        Where networks are trained; ``auto``: CUDA where there is some.

    Returns
    -------
    Result

    Raises
    ------
    MotetError
        A sentence that names site, file, column, person or feature.
    """
    with naming(Path(study) if isinstance(study, str | Path) else None):
        read = as_study(study)
        check_device(parse_params(read), device)
        said: list[tuple[str, str]] = []
        tables = open_sites(read, lambda site, sentence: said.append((site, sentence)))
        if read.evaluation.truth is not None:
            TrueImages(read.evaluation.truth).check(tables)
        if out is None:
            result = _in_memory(read, tables, observe, device)
            return replace(result, warnings=(*said, *result.warnings))
        folder = OutputFolder(Path(out))
        with folder.claimed(read, agreed(read, tables)):
            return _into(folder, read, tables, observe, reports, said, device)


def _in_memory(
    study: Study, tables: Mapping[str, Table], observe: Observer, device: Device
) -> Result:
    values = {s: np.empty((len(t), len(t.features))) for s, t in tables.items()}
    result = run_sites(
        study,
        tables,
        sink_of=lambda site: lambda table, about: array_sink(table, values[site]),
        device=device,
        observe=observe,
    )
    present = {site: table for site, table in tables.items() if site not in result.missing}
    values = {site: values[site] for site in present}
    return replace(_judged(study, result, present, values), values=values)


def _judged(
    study: Study,
    result: Result,
    tables: Mapping[str, Table],
    values: Mapping[str, Any],
    images: Callable[[str], Blocks] | None = None,
) -> Result:
    """Add what only a simulation can say: it has everybody in one place."""
    fitting = {site: t for site, t in tables.items() if site not in study.evaluation.unseen}
    effect = site_effect(fitting, values, result.plan)
    judgements, warnings = dict(result.judgements), list(result.warnings)
    if study.evaluation.metrics == "full":
        try:
            with threadpool_limits(1, user_api="blas"):
                judgements["simulation"] = full_judgement(
                    study, result.plan, tables, values, images
                )
        except MotetError as error:
            warnings.insert(0, ("", str(error)))
    return replace(result, site_effect=effect, judgements=judgements, warnings=tuple(warnings))


def _into(
    folder: OutputFolder,
    study: Study,
    tables: Mapping[str, Table],
    observe: Observer,
    reports: Reports,
    said: Sequence[tuple[str, str]],
    device: Device,
) -> Result:
    def sink_of(site: str) -> Sink:
        return lambda table, about: derivative_writer(
            folder.harmonized(site), table, description=about
        )

    result = run_sites(
        study,
        tables,
        sink_of=sink_of,
        folder_of=folder.site,
        fingerprint_of=lambda site: fingerprint(study.sites[site]),
        checkpoint=folder.checkpoint,
        store=folder.write_model,
        log=folder.write_log,
        device=device,
        observe=observe,
    )
    result = replace(result, warnings=(*said, *result.warnings))
    folder.drop(result.missing)
    present = {site: table for site, table in tables.items() if site not in result.missing}
    folder.write_cohort(present, result.plan)
    values = folder.harmonized_values(present)
    images = folder.harmonized_images(present, result.plan.method)
    result = _judged(study, result, present, values, images)
    if result.outcome is not None and result.site_effect is not None:
        folder.write_evaluation(
            result.outcome, result.site_effect, result.judgements, warnings=result.warnings
        )
    unreported: tuple[tuple[str, str], ...] = ()
    if reports == "now":
        unreported = folder.write_reports(present, values, result.plan, warnings=result.warnings)
    return replace(result, out=folder.path, warnings=(*unreported, *result.warnings))

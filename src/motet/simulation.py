"""All sites on one machine: the same coordinator, workers and gate as deployed.

:func:`run_sites` runs a study over given sites, in this process or where an engine settles them.
:func:`simulate` reads folders, writes what ``motet simulate --out`` promises, and resumes an
interrupted run.
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
from flwr.serverapp import Grid
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from motet.bids.read import fingerprint
from motet.bids.table import Table, as_slice
from motet.client.apply import Blocks
from motet.client.finishing import Sink, Writer
from motet.codes import of_codes
from motet.config import Study, load_study, naming, parse_study
from motet.controls import full_judgement
from motet.engine import Account, Engine, Settled, in_process
from motet.errors import EngineError, MotetError, QuorumError
from motet.evaluation.images.true_images import TrueImages
from motet.evaluation.result import Judgement
from motet.evaluation.site_effect import SiteEffect, site_effect
from motet.harmonizer import SiteModel
from motet.images.derivatives import derivative_writer
from motet.output import OutputFolder
from motet.params import parse_params
from motet.plan import Plan, build_plan, model_document
from motet.releases import Arrays
from motet.schema import Schema
from motet.server import Coordinator, Observer, Outcome
from motet.server.app import server_app
from motet.server.coordinator import unstored
from motet.server.events import unobserved
from motet.server.exchange import Exchange
from motet.server.runner import Rows, unwritten
from motet.sites import agreed, masks, open_sites
from motet.store import content_hash, json_hash
from motet.strategies.trained import check_trainings
from motet.training.log import cautions
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
    engine: Engine = in_process,
    conclude: Callable[[Result], Result] = lambda result: result,
) -> Result:
    """Run a study over tables that are open.

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
    engine : Engine
        Where the sites work.
    conclude : callable
        What is still to be done with the result before progress is forgotten: a run that is stopped
        meanwhile goes on from there.

    Raises
    ------
    MotetError
        The site's own error where a lost site ends the run: in simulation all data are one
        person's. Deployed, only a code would be known.
    """
    settlers = {
        site: partial(
            Settled,
            name=site,
            table=table,
            sink=sink_of(site),
            folder=folder_of(site),
            fingerprint=fingerprint_of(site),
            secret=_secret(study, site, fingerprint_of(site)),
            device=device,
        )
        for site, table in tables.items()
    }
    results: list[Result] = []
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config={})
    # One thread of linear algebra, whatever the machine, keeps the last bits of a result from
    # depending on its cores.
    with engine(settlers) as running, threadpool_limits(1, user_api="blas"):

        def coordinator(grid: Grid, context: Context) -> Coordinator:
            # A site whose process ends before it has said its name is known all the same.
            exchange = Exchange(
                grid,
                run=study.study,
                timeout=study.federation.timeout,
                expected=running.grid.sites,
            )
            return Coordinator(
                grid,
                study,
                quorum=max(2, len(set(tables) - set(study.evaluation.unseen))),
                checkpoint=checkpoint,
                store=store,
                log=log,
                observe=observe,
                exchange=exchange,
            )

        def concluded(outcome: Outcome) -> None:
            accounts = {site: running.account(site) for site in sorted(tables)}
            results.append(conclude(_result(outcome, accounts)))

        try:
            server_app(coordinator, concluded)(running.grid, context)
        except QuorumError as error:
            for site in sorted(tables):
                if (own := running.account(site).error) is not None:
                    raise own from error
            raise
    return results[0]


def _result(outcome: Outcome, accounts: Mapping[str, Account]) -> Result:
    """What the coordinator and the sites have to say."""
    return Result(
        plan=outcome.plan,
        shared=outcome.shared,
        sha256=content_hash(outcome.shared, model_document(outcome.plan)),
        models={site: a.model for site, a in accounts.items() if a.model is not None},
        missing=outcome.missing,
        warnings=(
            *(("", said) for said in cautions(outcome.training, outcome.plan.params.model_dump())),
            *((site, said) for site, a in accounts.items() for said in a.warnings),
        ),
        judgements={} if outcome.judgement is None else {"sums": outcome.judgement},
        outcome=outcome,
    )


def _secret(study: Study, site: str, data: str) -> bytes:
    """What a site has for a secret where there is nobody to keep it from.

    The same for the same data, so that a run that goes on masks alike; another for others, since
    nothing is masked twice.
    """
    return json_hash({"simulated": study.public(), "site": site, "data": data}).encode()


def as_study(study: Study | Path | str | Mapping[str, Any]) -> Study:
    """A study given as itself, a file, or a dictionary."""
    if isinstance(study, Study):
        return study
    if isinstance(study, str | Path):
        return load_study(Path(study))
    return parse_study(study)


def simulate(
    study: Study | Path | str | Mapping[str, Any],
    *,
    out: Path | str | None = None,
    observe: Observer = unobserved,
    reports: Reports = "now",
    engine: Engine = in_process,
    device: Device = "auto",
) -> Result:
    """Run a study with all sites on this machine.

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
    engine : Engine
        Where the sites work: in this process, or ``motet.engine.on_ray()``, which needs `out`.
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
    if out is None and engine is not in_process:
        raise EngineError("Sites in processes of their own write to a folder.", do="Name it: out=…")
    with naming(Path(study) if isinstance(study, str | Path) else None):
        read = as_study(study)
        check_device(parse_params(read), device)
        said: list[tuple[str, str]] = []
        tables = open_sites(read, lambda site, sentence: said.append((site, sentence)))
        if read.evaluation.truth is not None:
            TrueImages(read.evaluation.truth).check(tables)
        plan = build_plan(read, agreed(read, tables))
        said += [("", words) for words in of_codes(tables, plan.schema, plan.params, least=3)]
        fit = masks(tables, plan)
        check_trainings(plan, sum(int(seen.sum()) for seen in fit.values()))
        if out is None:
            result = _in_memory(read, tables, observe, device)
            return replace(result, warnings=(*said, *result.warnings))
        folder = OutputFolder(Path(out))
        data = {site: fingerprint(home) for site, home in read.sites.items()}
        with folder.claimed(read, plan, data):
            return _into(folder, read, tables, observe, reports, said, engine, device, data)


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
    return replace(_judged(study, result, present, values, observe), values=values)


def _judged(
    study: Study,
    result: Result,
    tables: Mapping[str, Table],
    values: Mapping[str, Any],
    observe: Observer,
    images: Callable[[str], Blocks] | None = None,
) -> Result:
    """Add what only a simulation can say: it has everybody in one place."""
    fitting = {site: t for site, t in tables.items() if site not in study.evaluation.unseen}
    effect = site_effect(fitting, values, result.plan)
    judgements, warnings = dict(result.judgements), list(result.warnings)
    if study.evaluation.metrics in ("full", "uncontrolled"):
        try:
            with threadpool_limits(1, user_api="blas"):
                judgements["simulation"] = full_judgement(
                    study, result.plan, tables, values, images, observe
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
    engine: Engine,
    device: Device,
    data: Mapping[str, str],
) -> Result:
    def sink_of(site: str) -> Sink:
        return lambda table, about: derivative_writer(
            folder.harmonized(site), table, description=about
        )

    def conclude(result: Result) -> Result:
        # Controls are trained as the study was: who stops them has the study's own networks still.
        result = replace(result, warnings=(*said, *result.warnings))
        folder.drop(result.missing)
        present = {site: table for site, table in tables.items() if site not in result.missing}
        folder.write_cohort(present, result.plan)
        values = folder.harmonized_values(present)
        images = folder.harmonized_images(present, result.plan.method)
        result = _judged(study, result, present, values, observe, images)
        if result.outcome is not None and result.site_effect is not None:
            folder.write_evaluation(
                result.outcome, result.site_effect, result.judgements, warnings=result.warnings
            )
        unreported: tuple[tuple[str, str], ...] = ()
        if reports == "now":
            unreported = folder.write_reports(
                present, values, result.plan, warnings=result.warnings
            )
        return replace(result, out=folder.path, warnings=(*unreported, *result.warnings))

    return run_sites(
        study,
        tables,
        sink_of=sink_of,
        folder_of=folder.site,
        fingerprint_of=data.__getitem__,
        checkpoint=folder.checkpoint,
        store=folder.write_model,
        log=folder.write_log,
        device=device,
        observe=observe,
        engine=engine,
        conclude=conclude,
    )

"""What a harmonization is compared with, in a simulation: alone, pooled, ComBat, and shuffles.

Only a simulation has everybody in one place. All fits run the method's own steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motet import registry
from motet.bids.table import Table
from motet.client.alone import See, alone, fitted_alone, unwatched
from motet.client.apply import Blocks, Rows, harmonized
from motet.config import Privacy, Study
from motet.errors import MotetError
from motet.evaluation.result import Judgement, Version
from motet.images.images import Images
from motet.plan import Plan, build_plan
from motet.pooling import in_pool, pool
from motet.server.events import Event, Kind, Observer, unobserved
from motet.site import draw
from motet.sites import masks
from motet.training.phase import Train

if TYPE_CHECKING:
    from motet.evaluation.battery import Permuted
    from motet.evaluation.images import ImageBatteries

Float = NDArray[np.float64]
Values = Mapping[str, Float]
Masks = Mapping[str, NDArray[np.bool_]]

LARGEST = 50_000_000
"""Values (people x features) that are still judged in one place; each control holds them again."""

REPEATS = 3
"""Shuffles of every covariate."""

ONCE = 5_000_000
"""Values above which a covariate is shuffled once only."""


def full_judgement(
    study: Study,
    plan: Plan,
    tables: Mapping[str, Table],
    harmonized: Values,
    images: Callable[[str], Blocks] | None = None,
    observe: Observer = unobserved,
) -> Judgement:
    """The battery of a simulation, with all its controls unless the study wants none.

    Parameters
    ----------
    study : Study
    plan : Plan
    tables : mapping of str to Table
        Sites that harmonized, unseen ones too.
    harmonized : mapping of str to (n, p) float64
    images : callable, optional
        Site -> its harmonized images. Without it images are judged by their measures alone.
    observe : Observer
        Told of every control of a method that is trained: each takes as long as a training.

    Raises
    ------
    MotetError
        scikit-learn is missing, the study is too large, or too small to be judged.
    """
    from motet.evaluation.battery import battery

    size = sum(len(table) for table in tables.values()) * len(plan.schema.features)
    if size > LARGEST:
        instead = "not judged" if study.evaluation.metrics == "uncontrolled" else "judged from sums"
        raise MotetError(
            f"{size:,} values are too many for probes and controls in one place: the study is "
            f"{instead}.",
            do="Ask for 'evaluation: {metrics: summed}'.",
        )
    controlled = study.evaluation.metrics != "uncontrolled"
    observe(Event(kind=Kind.COMPARING if controlled else Kind.JUDGING))
    fit = masks(tables, plan)
    looked = None if images is None else _image_batteries(study, plan, tables, fit)
    if looked is not None and images is not None:
        looked.raw()
        for site in tables:
            looked.add("harmonized", site, images(site))
    failed: list[str] = []
    notes: list[str] = []
    versions: dict[Version, Values] = {
        "raw": {site: table.block(slice(None)) for site, table in tables.items()},
        "harmonized": harmonized,
    }
    shuffles: list[Permuted] = []
    if controlled:
        # Of images, every control reads and harmonizes them all again.
        repeats = REPEATS if size <= ONCE and not _are_images(tables) else 1
        begin = _begin(plan, len(tables) + 1 + repeats * len(plan.schema.covariates), observe)
        versions["local_only"] = local_only(
            tables, fit, plan, failed=failed.append, images=looked, begin=begin
        )
        begin("everybody in one place")
        versions["pooled"] = pooled(tables, fit, plan, images=looked)
        plans: dict[Version, Plan] = {"harmonized": plan}
        try:
            if (combat := combat_of(study, plan)) is not None:
                versions["combat"] = pooled(tables, fit, combat)
                plans["combat"] = combat
        except MotetError as error:
            notes.append(f"ComBat failed on these people, and is not compared: {error.what}")
        shuffles = permuted(tables, fit, plans, repeats=repeats, begin=begin)
    judged = battery(
        versions,
        tables,
        fit=fit,
        plan=plan,
        settings=study.evaluation,
        permuted=shuffles,
    )
    notes += [
        f"The method failed on the people of {site} alone: its local-only values are its raw ones."
        for site in failed
    ]
    if looked is not None:
        metrics, said = looked.judged()
        judged = replace(judged, metrics=(*judged.metrics, *metrics))
        notes += said
    elif _are_images(tables):
        notes.append("The images were not kept, so their measures alone are judged.")
    return replace(judged, notes=(*judged.notes, *notes))


def _unsaid(control: str) -> None:
    """Nobody is told of it."""


def _begin(plan: Plan, controls: int, observe: Observer) -> Callable[[str], None]:
    """Tells which control begins, of so many; of a method that is not trained all are over soon."""
    if not any(isinstance(phase, Train) for phase in plan.phases):
        return _unsaid
    numbers = count(1)

    def begin(control: str) -> None:
        observe(Event(kind=Kind.CONTROL, phase=control, step=next(numbers), steps=controls))

    return begin


def _are_images(tables: Mapping[str, Table]) -> bool:
    return all(isinstance(table, Images) for table in tables.values())


def _image_batteries(
    study: Study, plan: Plan, tables: Mapping[str, Table], fit: Masks
) -> ImageBatteries | None:
    """What judges the images themselves; None where the data are tables."""
    from motet.evaluation.battery.judge import sample_of
    from motet.evaluation.battery.splits import split
    from motet.evaluation.images import ImageBatteries, ImageBattery, TrueImages

    own = {site: table for site, table in tables.items() if isinstance(table, Images)}
    if len(own) < len(tables):
        return None
    sample = sample_of(tables, fit, plan)
    splits = split(sample, held_out=plan.held_out, seed=plan.seed)
    truth = study.evaluation.truth
    return ImageBatteries(
        own,
        None if truth is None else TrueImages(truth),
        lambda tables, truth: ImageBattery(
            tables, sample, splits, settings=study.evaluation, seed=plan.seed, truth=truth
        ),
    )


def local_only(
    tables: Mapping[str, Table],
    fit: Masks,
    plan: Plan,
    *,
    failed: Callable[[str], None],
    images: ImageBatteries | None = None,
    begin: Callable[[str], None] = _unsaid,
) -> dict[str, Float]:
    """Every site harmonizes its own batches alone: the floor.

    `failed` is called with every site whose own fit failed: its values are raw. `images` looks at
    what is made of images. `begin` is told of every control before it is fitted.
    """
    found = {}
    for site, table in tables.items():
        begin(f"{site} alone")
        errors: list[MotetError] = []
        found[site] = alone(
            table,
            fit[site],
            method=plan.harmonizer,
            params=plan.params,
            schema=plan.schema,
            seed=plan.seed,
            failed=errors.append,
            see=unwatched if images is None else images.see("local_only", site),
        )
        if errors:
            failed(site)
            if images is not None:
                images.forget("local_only", site)
    return found


def pooled(
    tables: Mapping[str, Table], fit: Masks, plan: Plan, images: ImageBatteries | None = None
) -> dict[str, Float]:
    """The same method with all people of the fit in one table: the ceiling.

    Unseen sites join the pooled model as they join the federated one.
    """

    def seen_at(site: str) -> See:
        return unwatched if images is None else images.see("pooled", site)

    fitting = {site: table for site, table in tables.items() if site not in plan.unseen}
    whole = pool(fitting)
    params = in_pool(plan.params, plan.schema)
    method, seed = plan.harmonizer, plan.seed
    seen = whole.where(np.concatenate([fit[site] for site in fitting]))
    own, shared, model = fitted_alone(
        seen, method=method, params=params, schema=plan.schema, seed=seed
    )
    made = _filled(
        whole,
        harmonized(
            whole, method=method, params=params, schema=own, shared=shared, model=model, seed=seed
        ),
        unwatched
        if images is None
        else _parted([(len(table), seen_at(site)) for site, table in fitting.items()]),
    )
    ends = np.cumsum([len(table) for table in fitting.values()])
    found = dict(zip(fitting, np.split(made, ends[:-1]), strict=True))
    for site in set(tables) - set(fitting):
        joining = harmonized(
            tables[site],
            method=method,
            params=params,
            schema=own,
            shared=shared,
            model=None,
            seed=seed,
        )
        found[site] = _filled(tables[site], joining, seen_at(site))
    return found


def _parted(parts: Sequence[tuple[int, See]]) -> See:
    """Hand rows of a pooled table to the sites they are of."""
    ends = np.cumsum([n for n, _ in parts])

    def see(rows: Rows, block: NDArray[Any]) -> None:
        for row, one in zip(np.arange(ends[-1])[rows].tolist(), block, strict=True):
            k = int(np.searchsorted(ends, row, side="right"))
            own = row - int(ends[k]) + parts[k][0]
            parts[k][1](slice(own, own + 1), one[None])

    return see


def _filled(table: Table, blocks: Blocks, see: See) -> Float:
    values = np.empty((len(table), len(table.features)))
    for rows, block in blocks:
        see(rows, block)
        values[rows] = table.measured(rows, block)
    return values


def combat_of(study: Study, plan: Plan) -> Plan | None:
    """ComBat of the same batches and covariates; None of a method that is not compared with it."""
    if not plan.harmonizer.card.beside_combat:
        return None
    known = registry.methods().get("combat").params_type.model_fields
    params = {name: value for name, value in study.params.items() if name in known}
    changed = {"method": "combat", "params": params, "train": {}, "privacy": Privacy()}
    return build_plan(study.model_copy(update=changed), plan.schema)


def permuted(
    tables: Mapping[str, Table],
    fit: Masks,
    plans: Mapping[Version, Plan],
    *,
    repeats: int,
    begin: Callable[[str], None] = _unsaid,
) -> list[Permuted]:
    """The pooled study harmonized with one covariate shuffled between people of a batch.

    An effect of the shuffled covariate that shows afterwards was invented by the method.

    Parameters
    ----------
    tables, fit
        Site -> its table, and who of it is in the fit.
    plans : mapping of Version to Plan
        What is judged, ``harmonized`` among it.
    repeats : int
        Shuffles of each covariate.
    begin : callable
        Told of every control before it is fitted.
    """
    from motet.evaluation.battery import Permuted

    plan, found = plans["harmonized"], []
    for covariate in plan.schema.covariates:
        for step in range(repeats):
            begin(f"{covariate.name} shuffled")
            given = {
                site: shuffled(table, covariate.name, seed=plan.seed, step=step)
                for site, table in tables.items()
            }
            changed = {
                site: replace(
                    table, covariates=table.covariates.assign(**{covariate.name: given[site]})
                )
                for site, table in tables.items()
            }
            try:
                values: dict[str, Values] = {
                    version: pooled(changed, fit, one) for version, one in plans.items()
                }
            except MotetError:  # shuffled, it may be collinear with another where people are few
                continue
            found.append(Permuted(column=covariate.name, shuffled=given, values=values))
    return found


def shuffled(table: Table, column: str, *, seed: int, step: int) -> NDArray[Any]:
    """The values (n,) of a column after people of one batch have changed places.

    A person's rows stay together, so people change places with others of as many rows. The draw
    depends on persons, never on the site.
    """
    values = table.covariates[column].to_numpy()
    result = values.copy()
    members: dict[tuple[str, int], list[NDArray[np.intp]]] = {}
    for batch in table.batches:
        here = np.flatnonzero(table.batch == batch)
        people = table.people[here]
        for person in sorted(set(people.tolist())):
            own = here[people == person]
            members.setdefault((batch, len(own)), []).append(own)
    for rows in members.values():
        drawn = [
            draw(seed, f"shuffle {column}", str(table.people[own[0]]), step).random()
            for own in rows
        ]
        for to, source in zip(rows, np.argsort(drawn), strict=True):
            result[to] = values[rows[int(source)]]
    return result

"""What a harmonization is compared with, in a simulation: alone, pooled, ComBat, and shuffles.

Only a simulation has everybody in one place. All fits run the method's own steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from motet import registry
from motet.bids.table import Table
from motet.client.alone import See, alone, fitted_alone, unwatched
from motet.client.apply import Blocks, Rows, harmonized
from motet.config import Privacy, Study
from motet.errors import MotetError
from motet.evaluation.result import Judgement, Version
from motet.harmonizer import Params
from motet.images.images import Images
from motet.plan import Plan, build_plan
from motet.schema import Batch, Schema
from motet.site import draw
from motet.sites import masks

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
    if study.evaluation.metrics != "uncontrolled":
        versions["local_only"] = local_only(tables, fit, plan, failed=failed.append, images=looked)
        versions["pooled"] = pooled(tables, fit, plan, images=looked)
        plans: dict[Version, Plan] = {"harmonized": plan}
        try:
            if (combat := combat_of(study, plan)) is not None:
                versions["combat"] = pooled(tables, fit, combat)
                plans["combat"] = combat
        except MotetError as error:
            notes.append(f"ComBat failed on these people, and is not compared: {error.what}")
        # Of images, every control reads and harmonizes them all again.
        repeats = REPEATS if size <= ONCE and not _are_images(tables) else 1
        shuffles = permuted(tables, fit, plans, repeats=repeats)
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
) -> dict[str, Float]:
    """Every site harmonizes its own batches alone: the floor.

    `failed` is called with every site whose own fit failed: its values are raw. `images` looks at
    what is made of images.
    """
    found = {}
    for site, table in tables.items():
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
    params = _in_pool(plan.params, plan.schema)
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


def pool(tables: Mapping[str, Table]) -> Table:
    """One table of all sites' people; a batch is called as the study calls it."""
    parts = list(tables.values())
    return replace(
        parts[0],
        site="pooled",
        people=np.concatenate([_by_key(part) for part in parts]),
        travelers={key: key for part in parts for key in part.travelers},
        consented=frozenset(key for part in parts for key in part.consented),
        sessions=None,
        covariates=pd.concat([part.covariates for part in parts], ignore_index=True),
        batch=np.array(
            [str(Batch(site, name)) for site, part in tables.items() for name in part.batch]
        ),
        source=None,
        form="memory",
        participants=pd.DataFrame(),
        **parts[0].joined(parts),
    )


def _by_key(part: Table) -> NDArray[Any]:
    """The people of a site, travelers by the key that all sites have for them."""
    key = {person: key for key, person in part.travelers.items()}
    return np.array([key.get(person, person) for person in part.people.tolist()], dtype=np.str_)


def _in_pool(params: Params, schema: Schema) -> Params:
    """Batches that parameters name, to bring others to, by the names that the pooled table has."""

    def named(asked: str) -> str:
        exact = [batch for batch in schema.batches if asked == str(batch)]
        found = exact or [b for b in schema.batches if asked in (b.name, b.site)]
        return str(found[0])

    changed: dict[str, Any] = {
        field: named(asked)
        for field in ("reference", "to")
        if (asked := getattr(params, field, None)) is not None
    }
    if targets := getattr(params, "targets", ()):
        changed["targets"] = tuple(map(named, targets))
    return params.model_copy(update=changed)


def combat_of(study: Study, plan: Plan) -> Plan | None:
    """ComBat of the same batches and covariates; None of a method that is not compared with it."""
    if not plan.harmonizer.card.beside_combat:
        return None
    known = registry.methods().get("combat").params_type.model_fields
    params = {name: value for name, value in study.params.items() if name in known}
    changed = {"method": "combat", "params": params, "train": {}, "privacy": Privacy()}
    return build_plan(study.model_copy(update=changed), plan.schema)


def permuted(
    tables: Mapping[str, Table], fit: Masks, plans: Mapping[Version, Plan], *, repeats: int
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
    """
    from motet.evaluation.battery import Permuted

    plan, found = plans["harmonized"], []
    for covariate in plan.schema.covariates:
        for step in range(repeats):
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

"""Harmonizing people with a model: of known batches, and of batches the model never saw."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.agreement import grid_in_words, same_grid
from motet.bids.plausible import far_rows
from motet.bids.table import Table, as_slice
from motet.client.local_site import LocalSite, silent
from motet.errors import DataError, ModelError, listed
from motet.harmonizer import Harmonizer, Params, SiteModel
from motet.images.images import Images
from motet.images.params import RegisteredParams
from motet.phases import Local, Repeat, Step, walk
from motet.releases import Arrays
from motet.schema import Schema

Rows = slice | NDArray[np.intp]
Blocks = Iterator[tuple[Rows, NDArray[Any]]]


def _do(steps: Sequence[Step], site: LocalSite, shared: Arrays) -> None:
    """Run the local steps of an unseen site."""
    for step in steps:
        if isinstance(step, Repeat):
            for _ in range(step.at_most):
                _do(step.steps, site, shared)
                if step.until is not None and step.until(shared):
                    break
        elif isinstance(step, Local):
            step.at_site(site, shared)


def check_features(table: Table, schema: Schema) -> None:
    """Refuse data of another feature set than the model's, or images on another grid."""
    own = table.described.grid
    if schema.grid and not same_grid(own, schema.grid):
        raise ModelError(
            f"The model was fitted on images of {grid_in_words(schema.grid)}; these have "
            f"{grid_in_words(own)}.",
            do="Register and resample them to the template of the study.",
            site=table.site,
            file=table.source,
        )
    if table.features == schema.features:
        return
    missing = [f for f in schema.features if f not in set(table.features)]
    extra = [f for f in table.features if f not in set(schema.features)]
    if missing or extra:
        lacks = f" lack {listed(missing)}" if missing else ""
        have = f" have {listed(extra)}, which the model does not know" if extra else ""
        raise ModelError(
            f"The model was fitted on {len(schema.features)} features. These data"
            f"{' and'.join(part for part in (lacks, have) if part)}.",
            do="Apply the model to the features it was fitted on.",
            site=table.site,
            feature=(missing + extra)[0],
        )
    j = next(j for j, f in enumerate(schema.features) if table.features[j] != f)
    raise ModelError(
        f"The features are in another order than in the model: number {j + 1} is "
        f"'{table.features[j]}' here and '{schema.features[j]}' there.",
        do="Bring the columns into the model's order.",
        site=table.site,
        feature=table.features[j],
    )


def harmonized(
    table: Table,
    *,
    method: Harmonizer,
    params: Params,
    schema: Schema,
    shared: Arrays,
    model: SiteModel | None,
    seed: int = 0,
    say: Callable[[str], None] = silent,
    workers: int = 1,
) -> Blocks:
    """Harmonize all people of a table.

    People of batches that `model` knows are adjusted with it; those of other batches (a new
    scanner, or a whole unseen site with ``model=None``) with effects estimated here from
    themselves alone, the shared estimates frozen. Nothing leaves.

    Of images, `workers` are worked on at a time, each by a thread.

    Yields
    ------
    rows : slice or (r,) int
    values : (r, p) float64, or one image (1, x, y, z)
        The buffer may be used again for the next rows.
    """
    check_features(table, schema)
    known = np.isin(table.batch, model.batches if model else ())
    if model is not None and known.any():
        part = table if known.all() else table.where(known)
        index = np.flatnonzero(known)
        for rows, values in _applied(method, params, part, model, shared, schema, workers):
            _refuse_infinite(values, part, rows)
            yield as_slice(index[rows]), values
    if not known.all():
        index, part = np.flatnonzero(~known), table.where(~known)
        own = joined(
            part,
            method=method,
            params=params,
            schema=schema,
            shared=shared,
            seed=seed,
            say=say,
            known=model,
        )
        for rows, values in _applied(method, params, part, own, shared, schema, workers):
            _refuse_infinite(values, part, rows)
            yield as_slice(index[rows]), values


def _believed(part: Table, schema: Schema, say: Callable[[str], None]) -> Table:
    """Whom effects of new batches are estimated from: one typing error would move everybody."""
    far = far_rows(part, {covariate.name for covariate in schema.covariates})
    for batch in part.batches:
        if far[part.batch == batch].all():
            far &= part.batch != batch  # there is nobody else to estimate it from
    if not far.any():
        return part
    who = listed(dict.fromkeys(part.who(i) for i in np.flatnonzero(far).tolist()))
    of = listed(dict.fromkeys(sorted(part.batch[far].tolist())))
    say(f"Effects of {of} are estimated without {who}, harmonized all the same.")
    return part.where(~far)


def _applied(
    method: Harmonizer,
    params: Params,
    part: Table,
    model: SiteModel,
    shared: Arrays,
    schema: Schema,
    workers: int,
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """What the method makes of these people; of images, `workers` at a time.

    Methods that compare voxels of people work on all of them at once: alone, products of matrices
    have other last bits.
    """
    if workers == 1 or not isinstance(part, Images) or isinstance(params, RegisteredParams):
        yield from method.apply(params, part, model, shared, schema)
        return

    def one(row: int) -> NDArray[Any]:
        alone = np.arange(len(part)) == row
        ((_, image),) = method.apply(params, part.where(alone), model, shared, schema)
        return image

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[int, Future[NDArray[Any]]]] = deque()
        for row in range(len(part)):
            waiting.append((row, pool.submit(one, row)))
            # No more images in memory than are worked on, and the one that is written.
            if len(waiting) > workers:
                done, image = waiting.popleft()
                yield slice(done, done + 1), image.result()
        while waiting:
            done, image = waiting.popleft()
            yield slice(done, done + 1), image.result()


def _refuse_infinite(values: NDArray[Any], table: Table, rows: slice) -> None:
    """Refuse an infinite value of the input, which stays one: harmonization is linear in it."""
    if values.ndim != 2 or np.isfinite(values.sum()) or not np.isinf(values).any():
        return  # images are read with this check
    row, column = (int(i) for i in np.argwhere(np.isinf(values))[0])
    raise DataError(
        "The value is infinite.",
        do="Correct it, or mark it as missing (n/a).",
        site=table.site,
        file=table.source,
        person=table.who(rows.start + row),
        feature=table.features[column],
    )


def joined(
    unseen: Table,
    *,
    method: Harmonizer,
    params: Params,
    schema: Schema,
    shared: Arrays,
    seed: int = 0,
    say: Callable[[str], None] = silent,
    known: SiteModel | None = None,
) -> SiteModel:
    """The model of batches that the shared model does not know, from their people alone.

    Where the site has a model of its own, `known`, it is found in ``site.keep`` as
    ``model/<name>``.

    Raises
    ------
    ModelError
        Where the method needs an exchange with the coordinator for that.
    """
    if any(phase.leaves for phase, _ in walk(method.join(params, schema))):
        raise ModelError(
            f"'{method.name}' needs an exchange with the coordinator for a batch it never saw "
            f"({listed(unseen.batches)}).",
            site=unseen.site,
        )
    unseen = _believed(unseen, schema, say)
    people = len(set(unseen.people.tolist()))
    kept = {} if known is None else {f"model/{n}": np.asarray(a) for n, a in known.arrays.items()}
    site = LocalSite(name=unseen.site, schema=schema, data=unseen, seed=seed, say=say, keep=kept)
    _do(method.join(params, schema), site, shared)
    own = method.site_model(params, site, shared)
    what = (
        f"its effects are estimated here, from {people} {'person' if people == 1 else 'people'}"
        if own.arrays
        else "everybody is harmonized as people of the study are"
    )
    say(f"The model does not know batch {listed(unseen.batches)}: {what}; nothing leaves.")
    return own

"""What a site comes to without the others: the method over its own batches alone.

The same steps, run here over one site; nothing leaves. It is the floor that a federation is
compared with. With everybody of a study in one table it is the ceiling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.table import Table
from motet.client.apply import Rows, harmonized
from motet.client.local_site import LocalSite, silent
from motet.errors import MotetError, PlanError
from motet.harmonizer import Harmonizer, Params, SiteModel
from motet.phases import Local, Phase, Publish, Repeat, Step, Sum, without_untold
from motet.releases import Arrays
from motet.schema import Batch, Schema
from motet.strategies.exact import exact
from motet.strategies.in_place import InPlace
from motet.training.options import TrainedParams
from motet.training.phase import Train


def fitted_alone(
    fit: Table,
    *,
    method: Harmonizer,
    params: Params,
    schema: Schema,
    seed: int = 0,
    say: Callable[[str], None] = silent,
) -> tuple[Schema, dict[str, NDArray[Any]], SiteModel]:
    """Run a method's plan over the people of one table.

    Parameters
    ----------
    fit : Table
        Those that the fit sees.
    method, params, schema
        As the study has them; the batches become those of `fit`.
    seed : int
    say : callable

    Returns
    -------
    schema, shared, model
        As a study of this site alone has them.

    Raises
    ------
    MotetError
        Where these people alone do not suffice for the method.
    """
    own = replace(schema.of_the_fit, batches=tuple(Batch(fit.site, name) for name in fit.batches))
    site = LocalSite(name=fit.site, schema=own, data=fit, seed=seed, say=say)
    params = in_one_place(params, len(fit))
    shared: dict[str, NDArray[Any]] = {}
    _run(method.plan(params, own), site, shared)
    shared = without_untold(shared)
    return own, shared, method.site_model(params, site, shared)


def in_one_place(params: Params, samples: int) -> Params:
    """Options of a training as it runs in one place, of no more samples a step than there are."""
    if not isinstance(params, TrainedParams):
        return params
    how = params.train
    some = max(1, int(samples * (1.0 - how.validation)))
    train = how.model_copy(update={"mode": "exact", "warm_up": 0, "batch": min(how.batch, some)})
    return params.model_copy(update={"train": train})


def ignored(error: MotetError) -> None:
    """Pass over a failed fit."""


See = Callable[[Rows, NDArray[Any]], None]
"""Takes what is made, some rows at a time."""


def unwatched(rows: Rows, block: NDArray[Any]) -> None:
    """Do not look at what is made."""


def alone(
    table: Table,
    fit: NDArray[np.bool_],
    *,
    method: Harmonizer,
    params: Params,
    schema: Schema,
    seed: int = 0,
    failed: Callable[[MotetError], None] = ignored,
    see: See = unwatched,
) -> NDArray[np.float64]:
    """Values (n, p) of a site that harmonizes its own batches without any other site.

    A site whose fit has one batch has nothing to bring together where the method estimates effects
    of batches: its values stay as they are, as do those of a site whose people alone do not
    suffice for the method.

    Parameters
    ----------
    table : Table
    fit : (n,) bool
        Who the fit may see; nobody at an unseen site, which then fits on everybody.
    method, params, schema, seed
        Of the study.
    failed : callable
        Called with the error where the site's own fit failed and its values stay as they are:
        who judges them has to say so.
    see : callable
        Takes what is made, some rows at a time, before it is measured: of images, the images.
    """
    values = np.array(table.block(slice(None)))
    seen = table.where(fit) if fit.any() else table
    if method.card.by_batch and len(seen.batches) < 2:
        return values
    own_params = _without_foreign_reference(params, seen)
    try:
        own, shared, model = fitted_alone(
            seen, method=method, params=own_params, schema=schema, seed=seed
        )
        blocks = harmonized(
            table,
            method=method,
            params=own_params,
            schema=own,
            shared=shared,
            model=model,
            seed=seed,
        )
        found = np.empty_like(values)
        for rows, block in blocks:
            see(rows, block)
            found[rows] = table.measured(rows, block)
    except MotetError as error:
        failed(error)
        return values
    return found


def _without_foreign_reference(params: Params, fit: Table) -> Params:
    """A reference batch at another site is not to be had here."""
    own = {str(Batch(fit.site, name)) for name in fit.batches} | set(fit.batches)
    if getattr(params, "reference", None) not in (None, *own):
        params = params.model_copy(update={"reference": None})
    if getattr(params, "to", None) not in (None, *own):
        # Alone, a site has its own mean for a target, and no need of travelers.
        also = {"travelers": ()} if hasattr(params, "travelers") else {}
        params = params.model_copy(update={"to": None, **also})
    if targets := getattr(params, "targets", ()):
        here = tuple(name for name in targets if name in own)
        params = params.model_copy(update={"targets": here})
    return params


def _run(steps: Sequence[Step], site: LocalSite, shared: dict[str, NDArray[Any]]) -> None:
    for step in steps:
        if isinstance(step, Repeat):
            for _ in range(step.at_most):
                _run(step.steps, site, shared)
                if step.until is not None and step.until(shared):
                    break
        elif not step.when or len(shared[step.when]):
            shared |= _do(step, site, shared)


def _do(phase: Phase, site: LocalSite, shared: Arrays) -> Arrays:
    if phase.who.site not in ("", site.name):
        return {}
    if isinstance(phase, Local):
        phase.at_site(site, shared)
        return {}
    if isinstance(phase, Sum):
        concluded = phase.conclude(phase.at_site(site, shared), shared)
        if phase.read_by == "holders":
            site.keep.update(concluded)
            return {}
        return concluded
    if isinstance(phase, Publish):
        if phase.sealed:
            return {}  # the recipient is another site
        arrays = phase.at_site(site, shared)
        published = {f"{site.name}/{name}": array for name, array in arrays.items()}
        conclude = phase.at_coordinator
        return published if conclude is None else conclude(published, shared)
    if isinstance(phase, Train):
        ask = InPlace(sites={site.name: site}, sizes=site.schema.sizes, seed=site.seed)
        return exact(phase, ask, shared)
    raise PlanError(f"This version cannot run the phase '{phase.name}'.")

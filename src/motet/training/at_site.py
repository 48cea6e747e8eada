"""A site's half of a training: between two exchanges, gradients of a step or steps of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motet.releases import Arrays
from motet.site import Site
from motet.training.control import Controls
from motet.training.device import steady
from motet.training.divergence import diverged
from motet.training.gradients import losses_of, summed_gradients, total_of
from motet.training.moment import Moment
from motet.training.networks import joined
from motet.training.phase import (
    EMA,
    LOSSES,
    SAMPLES,
    VALIDATED,
    VALIDATION,
    Train,
    Turn,
)
from motet.training.proximal import pull, shared_point
from motet.training.site_state import SiteState, sent
from motet.training.workshop import Workshop, workshop


def train_at_site(train: Train, turn: Turn, site: Site, shared: Arrays) -> Arrays:
    """What a site does in one turn, and what leaves it.

    Parameters
    ----------
    train : Train
    turn : Turn
    site : Site
        ``keep`` holds what never leaves: local groups, and moments that stay here.
    shared : mapping of str to ndarray
        ``<train>.<group>``: the networks as the coordinator has them.

    Raises
    ------
    TrainingError
        When a loss is not finite. Nothing is sent then.
    """
    with steady(train.options.threads):
        shop = workshop(train, site, shared)
        state = SiteState(train, shop, site, shared)
        arrays: dict[str, NDArray[Any]] = {}
        if turn.validates:
            state.load(turn)
            arrays |= _validated(train, turn, shop, site, shared)
        state.load(turn)
        if turn.after > turn.first:
            go = _summed if turn.exact else _stepped
            arrays |= go(train, turn, shop, site, state, shared)
        return arrays


def _moment(train: Train, shop: Workshop, step: int) -> Moment:
    trained = train.trained_of(shop.samples)
    return Moment(step=step, steps=train.steps(trained), per_epoch=train.per_epoch(trained))


def _validated(train: Train, turn: Turn, shop: Workshop, site: Site, shared: Arrays) -> Arrays:
    """The loss of the networks that would be given out: running means where there are some."""
    for group in train.leaving:
        at = f"{train.name}.{group.name}"
        shop.networks.load(group.name, shared[f"{at}.{EMA}" if group.ema else at])
    judge = shop.feed.made(train.judged)
    total = torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        # The same draws at every validation: what differs is the networks.
        for portion in shop.feed.due(shop.judged, -1).portions():
            found = losses_of(judge, shop.networks, portion)
            total += found[VALIDATION].sum().cpu()
    if not torch.isfinite(total):
        raise diverged(f"The loss '{VALIDATION}'", turn, site.name)
    return {
        VALIDATION: np.asarray(float(total)),
        VALIDATED: np.asarray(len(shop.judged), dtype=np.int64),
    }


def _summed(
    train: Train, turn: Turn, shop: Workshop, site: Site, state: SiteState, shared: Arrays
) -> Arrays:
    """Exact mode: gradients of one update, summed over the site's samples of the step."""
    update = train.update(turn.update)
    rows, moment = shop.due(turn.first), _moment(train, shop, turn.first)
    mixed = train.options.precision == "bfloat16"
    due = shop.feed.due(rows, turn.first)
    found = summed_gradients(shop.networks, update, shop.feed, due, moment, mixed=mixed)
    losses = [total_of(found.losses[name]) for name in sorted(found.losses)]
    _check_finite(site, turn, dict(zip(sorted(found.losses), losses, strict=True)))
    arrays = {LOSSES: np.asarray(losses), SAMPLES: np.asarray([found.samples], dtype=np.int64)}
    for name in turn.leaving:
        rest = torch.zeros_like(shop.networks.buffers[name])
        flat = joined([*found.of[name], rest])
        arrays[name] = sent(train, shop.networks.shaped(name, flat))
    state.step_alone(update, found.of, found.samples, moment)
    return arrays


def _stepped(
    train: Train, turn: Turn, shop: Workshop, site: Site, state: SiteState, shared: Arrays
) -> Arrays:
    """Local mode: steps of this site's own, then what they changed."""
    mixed = train.options.precision == "bfloat16"
    near = train.options.proximal if train.options.server == "fedprox" else 0.0
    base = shared_point(train, shop.networks, shared) if near else {}
    names = [f"{update}.{name}" for update, name in train.names(turn)]
    sums: dict[tuple[str, str], list[Tensor]] = {
        (u.name, name): [] for u in train.updates for name in u.weights
    }
    counts = dict.fromkeys((u.name for u in train.updates), 0)
    controls = Controls(
        train=train,
        networks=shop.networks,
        optimizers=shop.optimizers,
        turn=turn,
        site=site,
        shared=shared,
    )
    begun = _moment(train, shop, turn.first)
    rows = {step: shop.due(step) for step in range(turn.first, turn.after)}
    summed = [group.name for group in train.groups if group.summed]
    everywhere = train.samples_a_step(train.trained_of(shop.samples))
    for due in shop.feed.ahead(rows):
        if not due.samples:
            continue
        moment = begun.at(due.step)
        for update in train.updates:
            if not update.runs(due.step):
                continue
            found = summed_gradients(
                shop.networks, update, shop.feed, due, moment, mixed=mixed, mean=True
            )
            controls.correct(found.of)
            if near:
                pull(shop.networks, found.of, base, near)
            for name in summed:
                # What sites change these by is added up: a site's samples are a share of a step's.
                share = found.samples / everywhere
                if name in found.of:
                    found.of[name] = [share * part for part in found.of[name]]
            optimizer = shop.optimizers[update.name]
            optimizer.step(found.of, moment, times=train.options.local_rate)
            controls.count(found.of)
            counts[update.name] += found.samples
            for name, loss in found.losses.items():
                sums[update.name, name] += loss
            # The next pass has their memory while it is still in the processor's cache.
            found.of.clear()
    losses = [total_of(sums[key]) for key in train.names(turn)]
    _check_finite(site, turn, dict(zip(names, losses, strict=True)))
    return {
        LOSSES: np.asarray(losses),
        SAMPLES: np.asarray([counts[u.name] for u in train.updates], dtype=np.int64),
        **state.leave(turn, controls, counts),
    }


def _check_finite(site: Site, turn: Turn, losses: Mapping[str, float]) -> None:
    for name, value in losses.items():
        if not np.isfinite(value):
            raise diverged(f"The loss '{name}'", turn, site.name)

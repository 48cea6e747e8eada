"""A site's half of a training: between two exchanges, gradients of a step or steps of its own."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motet.errors import DataError
from motet.releases import Arrays
from motet.schema import by_label
from motet.site import Site
from motet.training.control import Controls
from motet.training.device import device_named, steady
from motet.training.divergence import diverged
from motet.training.exchange import as_bfloat16
from motet.training.feed import MOST, Feed
from motet.training.gradients import losses_of, summed_gradients, total_of
from motet.training.moment import Moment
from motet.training.networks import Networks, build, joined
from motet.training.optimizer import Optimizer
from motet.training.order import Order, order_for
from motet.training.phase import (
    CONTROL,
    EMA,
    LOSSES,
    MOMENTS,
    SAMPLES,
    VALIDATED,
    VALIDATION,
    WEIGHT,
    Train,
    Turn,
    Update,
)
from motet.training.proximal import pull, shared_point
from motet.training.samples import Samples


@dataclass(kw_only=True)
class Workshop:
    """What a site has at hand during a training. All of it can be made again at any time.

    Attributes
    ----------
    networks : Networks
    feed : Feed
    order : Order
        Of those who are trained on.
    trained, judged : (n,) int
        Rows of samples that are trained on, and that validate.
    samples : int
        All sites' samples of the fit.
    owned : (K,) bool
        Which scanners of the study are this site's.
    people : (n,) str
        Whose every row is.
    optimizers : dict of str to Optimizer
    first : dict of str to ndarray
        First weights of groups that never leave: the same everywhere.
    """

    networks: Networks
    feed: Feed
    order: Order
    trained: NDArray[np.intp]
    judged: NDArray[np.intp]
    samples: int
    owned: NDArray[np.bool_]
    people: NDArray[np.str_]
    optimizers: dict[str, Optimizer] = field(default_factory=dict)
    first: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def due(self, step: int) -> NDArray[np.intp]:
        """Rows of the samples of a step."""
        return self.trained[self.order.due(step)]


def workshop(train: Train, site: Site, shared: Arrays) -> Workshop:
    """A site's networks and samples; made when they are first asked for."""
    made: MutableMapping[str, Any] = site.scratch
    if train.name not in made:
        made[train.name] = _workshop(train, site, shared)
    found: Workshop = made[train.name]
    return found


def _workshop(train: Train, site: Site, shared: Arrays) -> Workshop:
    how, schema = train.options, site.schema
    samples: Samples = train.samples(site, shared)
    if not len(samples):
        raise DataError("There is nobody to train on.", site=site.name)
    counted = int(shared[train.counted])
    keys = samples.keys(site.seed)
    networks = build(train, schema.sizes, seed=site.seed, device=device_named(site.device))
    back = samples.held_back(how.validation, site.seed)
    trained = np.flatnonzero(~back)
    order = order_for(
        train,
        keys[trained],
        np.argsort(by_label(schema.batches))[samples.batch[trained]],
        trained=train.trained_of(counted),
        batches=len(schema.batches),
        seed=site.seed,
    )
    found = Workshop(
        networks=networks,
        feed=Feed(
            samples,
            keys,
            dtype=networks.dtype,
            device=networks.device,
            # A site's share of a step varies; what validates comes in passes of the same size.
            at_once=min(MOST, 2 * how.batch) or MOST,
            compiled=how.compile and networks.device.type == "cuda",
        ),
        order=order,
        trained=trained,
        judged=np.flatnonzero(back),
        samples=counted,
        owned=np.array([batch.site == site.name for batch in schema.batches]),
        people=samples.people.astype(str),
    )
    local = [group.name for group in train.groups if group.keeper == "local"]
    found.first = {name: networks.vector(name) for name in local}
    found.optimizers = {u.name: Optimizer(networks, u) for u in train.updates}
    return found


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
        state = _State(train, shop, site, shared)
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
    train: Train, turn: Turn, shop: Workshop, site: Site, state: _State, shared: Arrays
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
    train: Train, turn: Turn, shop: Workshop, site: Site, state: _State, shared: Arrays
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
    controls = Controls(train=train, networks=shop.networks, site=site, shared=shared)
    begun = _moment(train, shop, turn.first)
    rows = {step: shop.due(step) for step in range(turn.first, turn.after)}
    summed = {group.name for group in train.groups if group.summed}
    # Steps are shorter where they are averaged; an owner's are not, and sums are not.
    faster = {g.name: train.options.local_rate for g in train.groups if g.keeper == "shared"}
    everywhere = train.samples_a_step(train.trained_of(shop.samples))
    for due in shop.feed.ahead(rows):
        if not due.samples:
            continue
        moment = replace(begun, step=due.step)
        for update in train.updates:
            if not update.runs(due.step):
                continue
            found = summed_gradients(
                shop.networks, update, shop.feed, due, moment, mixed=mixed, mean=True
            )
            controls.correct(found.of)
            if near:
                pull(shop.networks, found.of, base, near)
            for name in summed & set(found.of):
                # What sites change these by is added up: a site's samples are a share of a step's.
                share = found.samples / everywhere
                found.of[name] = [share * part for part in found.of[name]]
            optimizer = shop.optimizers[update.name]
            optimizer.step(found.of, moment, times=faster)
            counts[update.name] += found.samples
            for name, loss in found.losses.items():
                sums[update.name, name] += loss
    losses = [total_of(sums[key]) for key in train.names(turn)]
    _check_finite(site, turn, dict(zip(names, losses, strict=True)))
    return {
        LOSSES: np.asarray(losses),
        SAMPLES: np.asarray([counts[u.name] for u in train.updates], dtype=np.int64),
        **state.leave(turn, controls, counts),
    }


class _State:
    """A site's networks and moments between turns: told by the coordinator, or kept here."""

    def __init__(self, train: Train, shop: Workshop, site: Site, shared: Arrays) -> None:
        self._train, self._shop, self._site, self._shared = train, shop, site, shared
        self._told: dict[str, NDArray[np.float64]] = {}

    def _kept(self, name: str) -> str:
        return f"{self._train.name}.{name}"

    def load(self, turn: Turn) -> None:
        """Networks and moments as they are before `turn`."""
        train, networks = self._train, self._shop.networks
        for name, group in networks.groups.items():
            at = self._kept(name)
            if group.keeper == "local" or at in self._site.keep:
                if at in self._site.keep:
                    networks.load(name, self._site.keep[at])
                elif turn.number == 0:
                    networks.load(name, self._shop.first[name])
            else:
                networks.load(name, self._shared[at])
        if turn.exact and not any(g.keeper == "local" for g in train.groups):
            return
        for update in train.updates:
            known, ran = {}, {}
            for name in update.groups:
                for moment in MOMENTS:
                    at = self._kept(f"{name}.{moment}")
                    source = self._site.keep if at in self._site.keep else self._shared
                    if at in source:
                        known[f"{name}.{moment}"] = source[at]
                        counted = self._site.keep.get(self._kept(f"{name}.ran"))
                        ran[name] = update.ran(turn.first) if counted is None else int(counted)
            self._shop.optimizers[update.name].take(known, ran)

    def step_alone(
        self, update: Update, gradients: Mapping[str, list[Tensor]], samples: int, moment: Moment
    ) -> None:
        """In exact mode, a step of the groups that never leave, by the site's own samples."""
        local = [n for n in update.groups if self._train.group(n).keeper == "local"]
        if not local or not samples:
            return
        mean = {name: [part / samples for part in gradients[name]] for name in local}
        self._shop.optimizers[update.name].step(mean, moment)
        self._keep(local, update)

    def leave(
        self, turn: Turn, controls: Controls, counts: Mapping[str, int]
    ) -> dict[str, NDArray[Any]]:
        """What networks, moments and controls changed by, times samples; the rest is kept."""
        train, networks = self._train, self._shop.networks
        weights = self._weights(turn, counts)
        found: dict[str, NDArray[Any]] = {WEIGHT: np.array([weights[n] for n in turn.leaving])}
        for name in turn.leaving:
            found[name] = self._changed(name, name, networks.numbers(name), weights[name])
        for name in controls.names:
            controls.close(name, leaves=name in turn.leaving)
            if name in turn.leaving:
                at = f"{name}.{CONTROL}"
                found[at] = self._changed(name, at, controls.own(name), weights[name])
        for update in train.updates:
            moments = self._shop.optimizers[update.name].tensors()
            for at, now in moments.items():
                group, _, moment = at.rpartition(".")
                if moment not in update.moments:
                    continue
                if group in turn.leaving and train.options.moments == "averaged":
                    found[at] = self._changed(group, at, now, weights[group])
                elif group not in turn.leaving or train.options.moments == "kept":
                    self._site.keep[self._kept(at)] = now.to("cpu", torch.float64).numpy()
                else:
                    self._site.keep.pop(self._kept(at), None)
            self._keep_count(update)
        for name in networks.groups:
            if name not in turn.leaving:
                self._site.keep[self._kept(name)] = networks.vector(name)
        return found

    def _weights(self, turn: Turn, counts: Mapping[str, int]) -> dict[str, float]:
        """Samples behind every group that leaves, since it last did; the others' are kept."""
        found = {}
        for update in self._train.updates:
            for name in update.groups:
                at = self._kept(f"{name}.{SAMPLES}")
                so_far = float(self._site.keep.pop(at, 0.0)) + counts[update.name]
                if name in turn.leaving:
                    found[name] = so_far
                else:
                    self._site.keep[at] = np.asarray(so_far)
        return found

    def _keep_count(self, update: Update) -> None:
        """Steps behind moments that stay here: the optimizer corrects their beginning by it."""
        ran = self._shop.optimizers[update.name].ran
        for name in update.groups:
            counted = self._kept(f"{name}.ran")
            self._site.keep.pop(counted, None)
            if any(self._kept(f"{name}.{moment}") in self._site.keep for moment in MOMENTS):
                self._site.keep[counted] = np.asarray(ran[name])

    def _changed(self, group: str, name: str, now: Tensor, weight: float) -> NDArray[Any]:
        """What an array of a group changed by since the coordinator told it, as it leaves."""
        if self._train.masked:
            now = now.to(torch.float64)  # 64 bits leave; the product is not to be rounded to 24
        told = self._shared.get(self._kept(name))
        self._site.keep.pop(self._kept(name), None)
        if told is not None:
            now = now - torch.from_numpy(np.array(told)).to(now.device, now.dtype)
        spec = self._train.group(group)
        if spec.keeper != "owned":
            return sent(self._train, now * weight)
        # A batch's part is summed, not averaged; moments are its owner's in any case.
        if not (spec.summed and name == group):
            now = now * torch.from_numpy(self._shop.owned).to(now.device, now.dtype)[:, None]
        return sent(self._train, now)

    def _keep(self, names: list[str], update: Update) -> None:
        for name in names:
            self._site.keep[self._kept(name)] = self._shop.networks.vector(name)
        for at, array in self._shop.optimizers[update.name].moments().items():
            group, _, moment = at.rpartition(".")
            if group in names and moment in update.moments:
                self._site.keep[self._kept(at)] = array
        self._keep_count(update)


def sent(train: Train, tensor: Tensor) -> NDArray[Any]:
    """Numbers in the form in which they leave."""
    array = tensor.detach().cpu().numpy()
    if train.masked:
        return array.astype(np.float64, copy=False)
    if train.options.transfer == "bfloat16":
        return as_bfloat16(array.astype(np.float32, copy=False))
    return array.astype(train.options.transfer, copy=False)


def _check_finite(site: Site, turn: Turn, losses: Mapping[str, float]) -> None:
    for name, value in losses.items():
        if not np.isfinite(value):
            raise diverged(f"The loss '{name}'", turn, site.name)

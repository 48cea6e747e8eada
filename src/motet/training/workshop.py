"""What a site has at hand while it trains: networks, samples and their order, optimizers."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import DataError
from motet.releases import Arrays
from motet.schema import by_label
from motet.site import Site
from motet.training.device import device_named
from motet.training.feed import MOST, Feed
from motet.training.networks import Networks, build
from motet.training.optimizer import Optimizer
from motet.training.order import Order, order_for
from motet.training.phase import Train
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

"""A site's half of a private training: drawn people, clipped gradients, noise."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from motet.errors import TrainingError
from motet.releases import Arrays
from motet.site import Site
from motet.training.device import steady
from motet.training.moment import Moment
from motet.training.noise import drawn, normal
from motet.training.people import clipped_sum
from motet.training.phase import Train, Turn
from motet.training.privacy import mechanism
from motet.training.site_state import sent
from motet.training.workshop import Workshop, workshop


def _rows_of_people(train: Train, shop: Workshop, site: Site) -> list[NDArray[np.intp]]:
    """Rows of every person; found once."""
    made: MutableMapping[str, Any] = site.scratch
    name = f"{train.name}.people"
    if name not in made:
        _, whose = np.unique(shop.people, return_inverse=True)
        made[name] = [np.flatnonzero(whose == k) for k in range(whose.max() + 1)]
    found: list[NDArray[np.intp]] = made[name]
    return found


def train_in_private(train: Train, turn: Turn, site: Site, shared: Arrays) -> Arrays:
    """Clipped gradients of people drawn in secret, summed, with noise.

    Every call draws anew: who calls keeps what it gave (:mod:`motet.client.drawn`).

    Parameters
    ----------
    train : Train
    turn : Turn
    site : Site
    shared : mapping of str to ndarray
        ``<train>.<group>``: the networks as the coordinator has them.

    Raises
    ------
    TrainingError
        When the turn is beyond the steps that the noise is measured for.
    """
    assert train.private is not None
    how = mechanism(train, int(shared[train.counted]))
    if turn.first >= how.steps:
        raise TrainingError(
            f"Step {turn.first} is beyond the {how.steps} that noise was measured for.",
            site=site.name,
        )
    update, clip = train.update(turn.update), train.private.clip
    moment = Moment(step=turn.first, steps=how.steps, per_epoch=1.0 / how.rate)
    with steady(train.options.threads):
        shop = workshop(train, site, shared)
        everybody = _rows_of_people(train, shop, site)
        for name in turn.leaving:
            shop.networks.load(name, shared[f"{train.name}.{name}"])
        people = [everybody[k] for k in np.flatnonzero(drawn(len(everybody), how.rate))]
        sums = clipped_sum(shop.networks, update, shop.feed, people, moment, clip=clip)
        arrays = {}
        for name in turn.leaving:
            flat = sums[name] + torch.from_numpy(
                how.noise_multiplier * clip * normal(len(sums[name]))
            )
            # Behind masks nothing larger can be sent; to refuse it would tell of it.
            flat = flat.clamp(-train.largest, train.largest)
            rest = torch.zeros(len(shop.networks.buffers[name]), dtype=torch.float64)
            arrays[name] = sent(train, shop.networks.shaped(name, torch.cat([flat, rest])))
        return arrays

"""A site that was not in the fit adapts its two heads; decoder, trunks and critic stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.slices import samples
from motet.harmonizers.calamiti.training import HEADS, NAME, Training, train_phase
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site
from motet.training.moment import Moment, falling
from motet.training.phase import Update


@dataclass(frozen=True)
class Adapt:
    """The training of the heads, at the site alone.

    Parameters
    ----------
    params : CalamitiParams
    schema : Schema
    """

    params: CalamitiParams
    schema: Schema

    def train(self, site: Site, shared: Arrays) -> None:
        """Train the heads on the site's people, and keep them."""
        from motet.training.device import device_named, steady
        from motet.training.feed import Feed
        from motet.training.gradients import summed_gradients
        from motet.training.networks import build
        from motet.training.optimizer import Optimizer
        from motet.training.samples import Order, rates

        train, how = train_phase(self.params), self.params.train
        with steady(how.threads):
            networks = build(
                train, self.schema.sizes, seed=site.seed, device=device_named(site.device)
            )
            for group in train.groups:
                networks.load(group.name, shared[f"{NAME}.{group.name}"])
            seen = samples(site, self.params, shared)
            keys = seen.keys(site.seed)
            feed = Feed(seen, keys, dtype=networks.dtype, device=networks.device)
            size = min(how.batch or len(seen), len(seen))
            each = rates(seen.batch, per_epoch=len(seen) / size, size=size, batches=1, strata="")
            order = Order(keys=keys, rates=each)
            update = self.update()
            optimizer = Optimizer(networks, update)
            steps = self.params.join_steps
            for due in feed.ahead({step: order.due(step) for step in range(steps)}):
                if not due.samples:
                    continue
                moment = Moment(step=due.step, steps=steps, per_epoch=len(seen) / size)
                found = summed_gradients(networks, update, feed, due, moment, mean=True)
                optimizer.step(found.of, moment)
            for name in HEADS:
                site.keep[f"{NAME}.{name}"] = networks.vector(name)

    def update(self) -> Update:
        """The one update: of the heads."""
        return replace(
            train_phase(self.params).update("generator"),
            name="heads",
            groups=HEADS,
            losses=Training(self.params).adapting,
            rate=falling,
            period=1,
            offset=0,
        )


def heads_of(keep: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The heads that a site adapted; empty where it did not."""
    return {name: np.asarray(keep[f"{NAME}.{name}"]) for name in HEADS if f"{NAME}.{name}" in keep}

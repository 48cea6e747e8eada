"""A site that was not in the fit trains heads of its own; all else stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from motet.harmonizers._images.numbers import batch_numbers
from motet.harmonizers.murd.params import MurdParams
from motet.harmonizers.murd.sizes import BATCHED
from motet.harmonizers.murd.slices import cached, samples
from motet.harmonizers.murd.targets import MEAN, OWN, check_own, known, names_of, of_batches, parsed
from motet.harmonizers.murd.training import NAME, train_phase
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site
from motet.training.phase import Train, Update


@dataclass(frozen=True)
class Adapt:
    """The training of heads, at the site alone.

    People of any scanner are brought to one of the study's without a head of their own: their
    content has none. So heads are trained where ``to`` is one of the site's own scanners.

    Parameters
    ----------
    params : MurdParams
    schema : Schema
        Of the study.
    """

    params: MurdParams
    schema: Schema

    def train(self, site: Site, shared: Arrays) -> None:
        """Train the heads on the site's people, and keep them, where they are asked for."""
        to = self.params.to
        if to is None or known(to, self.schema):
            return
        own = of_batches(self.schema, site.name, site.batches)
        batch = parsed(to, names_of(own)).batch
        if batch == MEAN and MEAN not in names_of(own):
            return
        check_own(batch, own, self.schema)
        self._train(site, own, shared)
        images = np.bincount(batch_numbers(site.data, own), minlength=len(own.batches))
        level = cached(site, self.params).level[:, 0]
        sums = np.bincount(batch_numbers(site.data, own), weights=level, minlength=len(images))
        site.keep[f"{OWN}.level"] = sums / images

    def _train(self, site: Site, own: Schema, shared: Arrays) -> None:
        from motet.training.alone import train_alone

        train = train_phase(self.params, own)
        networks = train_alone(
            train,
            [self.update(update) for update in train.updates],
            samples(site, self.params, own),
            site,
            sizes=own.sizes,
            first=self._first(train, own, shared),
            steps=self.params.join_steps,
        )
        for name in BATCHED:
            site.keep[f"{OWN}.{name}"] = networks.vector(name)

    def update(self, update: Update) -> Update:
        """An update of the fit that moves heads alone, all of them at one rate."""
        optimizer = {key: value for key, value in update.optimizer.items() if key != "lr_of"}
        groups = tuple(name for name in update.groups if name in BATCHED)
        return replace(update, groups=groups, optimizer=optimizer)

    def _first(self, train: Train, own: Schema, shared: Arrays) -> dict[str, np.ndarray]:
        """The study's trunks; and heads that begin as the mean of the study's."""
        found = {g.name: np.asarray(shared[f"{NAME}.{g.name}"]) for g in train.groups}
        for name in BATCHED:
            found[name] = np.tile(found[name].mean(axis=0), (len(own.batches), 1))
        return found

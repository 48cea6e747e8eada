"""A training at one site alone: nothing is exchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from motet.releases import Arrays
from motet.site import Site
from motet.training.device import device_named, steady
from motet.training.feed import Feed
from motet.training.gradients import summed_gradients
from motet.training.moment import Moment
from motet.training.networks import Networks, build
from motet.training.optimizer import Optimizer
from motet.training.order import Order
from motet.training.phase import Train, Update
from motet.training.samples import Samples


def train_alone(
    train: Train,
    updates: Sequence[Update],
    seen: Samples,
    site: Site,
    *,
    sizes: Mapping[str, int],
    first: Arrays,
    steps: int,
) -> Networks:
    """Networks after steps of some updates, all of them in every step, one after the other.

    Parameters
    ----------
    train : Train
        What the networks are of. Of its options the batch, which is no larger than there are
        samples, and the threads.
    updates : sequence of Update
    seen : Samples
        Of the site.
    site : Site
    sizes : mapping of str to int
    first : mapping of str to ndarray
        Every group of the networks as it begins.
    steps : int
    """
    how = train.options
    networks = build(train, sizes, seed=site.seed, device=device_named(site.device))
    for name, group in first.items():
        networks.load(name, group)
    size = min(how.batch or len(seen), len(seen))
    per_epoch = len(seen) / size
    with steady(how.threads):
        keys = seen.keys(site.seed)
        feed = Feed(seen, keys, dtype=networks.dtype, device=networks.device)
        order = Order.alike(keys, per_epoch=per_epoch)
        optimizers = [Optimizer(networks, update) for update in updates]
        for due in feed.ahead({step: order.due(step) for step in range(steps)}):
            if not due.samples:
                continue
            moment = Moment(step=due.step, steps=steps, per_epoch=per_epoch)
            for update, optimizer in zip(updates, optimizers, strict=True):
                found = summed_gradients(networks, update, feed, due, moment, mean=True)
                optimizer.step(found.of, moment)
    return networks

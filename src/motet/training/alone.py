"""A training at one site alone: nothing is exchanged."""

from __future__ import annotations

from collections.abc import Sequence

from motet.training.device import steady
from motet.training.feed import Feed
from motet.training.gradients import summed_gradients
from motet.training.moment import Moment
from motet.training.networks import Networks
from motet.training.optimizer import Optimizer
from motet.training.options import TrainOptions
from motet.training.phase import Update
from motet.training.samples import Order, Samples, rates


def train_alone(
    networks: Networks,
    updates: Sequence[Update],
    seen: Samples,
    *,
    how: TrainOptions,
    steps: int,
    seed: int,
) -> None:
    """Move networks by steps of some updates, all of them in every step, one after the other.

    Parameters
    ----------
    networks : Networks
    updates : sequence of Update
    seen : Samples
        Of the site.
    how : TrainOptions
        Of these the batch, which is no larger than there are samples, and the threads.
    steps : int
    seed : int
    """
    size = min(how.batch or len(seen), len(seen))
    per_epoch = len(seen) / size
    with steady(how.threads):
        keys = seen.keys(seed)
        feed = Feed(seen, keys, dtype=networks.dtype, device=networks.device)
        each = rates(seen.batch, per_epoch=per_epoch, size=size, batches=1, strata="")
        order = Order(keys=keys, rates=each)
        optimizers = [Optimizer(networks, update) for update in updates]
        for due in feed.ahead({step: order.due(step) for step in range(steps)}):
            if not due.samples:
                continue
            moment = Moment(step=due.step, steps=steps, per_epoch=per_epoch)
            for update, optimizer in zip(updates, optimizers, strict=True):
                found = summed_gradients(networks, update, feed, due, moment, mean=True)
                optimizer.step(found.of, moment)

"""Epochs of one site over its travelers: nothing leaves. State is kept after each turn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from motet.errors import TrainingError
from motet.harmonizers.mispel.grid import corners
from motet.harmonizers.mispel.params import MispelParams
from motet.harmonizers.mispel.scanners import Scanners
from motet.harmonizers.mispel.slices import Shape, Stack, stack, together
from motet.harmonizers.mispel.units import keep, load, networks, precision
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site
from motet.store import OWNER
from motet.training.log import LOG, write_log
from motet.training.moment import Moment, falling

if TYPE_CHECKING:
    from motet.training.networks import Networks
    from motet.training.phase import Update
    from motet.training.samples import Samples

Stage = Literal["embedding", "harmonization"]
COMMON: Mapping[Stage, tuple[str, ...]] = {
    "embedding": ("consensus",),
    "harmonization": ("values", "signs"),
}
"""What the sites that scanned a traveler make together, ``<name>/<key>`` in what is kept."""
FAINT = 1e-3
"""Of the coupling's weight, where it begins."""
MOMENTS = "moments."
BENCH = "mispel"


@dataclass(kw_only=True)
class Bench:
    """What a site has at hand; all of it can be made again at any time."""

    networks: Networks
    stack: Stack
    shape: Shape
    names: tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """Both steps.

    Parameters
    ----------
    params : MispelParams
    schema : Schema
    """

    params: MispelParams
    schema: Schema

    def epochs(self, stage: Stage) -> int:
        """Of a step."""
        asked = self.params
        return asked.embedding_epochs if stage == "embedding" else asked.harmonization_epochs

    def weights(self, stage: Stage) -> Mapping[str, float]:
        """Of the losses of a step: lambda 1 to 4, as the authors set them right after printing."""
        if stage == "harmonization":
            return {"reconstruction": 1.0, "harmonization": 4.0}
        return {"reconstruction": 0.3, "coupling": self.params.coupling}

    def rising(self, moment: Moment) -> Mapping[str, float]:
        """The coupling's weight, as a share of itself, in a step of step 1: it grows by decades.

        With a mean that is held fixed for a while, a strong coupling holds everybody where they
        began: first units have to learn what an image is.
        """
        return {"coupling": FAINT ** max(0.0, 1.0 - moment.done / self.params.rising)}

    def turns(self, stage: Stage) -> int:
        """Turns of `refresh` epochs."""
        return -(-self.epochs(stage) // self.params.refresh)

    def embed(self, site: Site, shared: Arrays) -> None:
        """Some epochs of step 1."""
        self.turn(site, "embedding")

    def harmonize(self, site: Site, shared: Arrays) -> None:
        """Some epochs of step 2: encoders are frozen."""
        self.turn(site, "harmonization")

    def bench(self, site: Site) -> Bench:
        """The site's units as they are kept, and its slices."""
        if BENCH not in site.scratch:
            site.scratch[BENCH] = self._bench(site)
        found: Bench = site.scratch[BENCH]
        load(found.networks, found.names, site.keep)
        return found

    def _bench(self, site: Site) -> Bench:
        params, scanners = self.params, Scanners(self.params, site.schema)
        if params.mode == "sites":
            batches = {name: name for name in site.batches}
        else:
            batches = scanners.trained
        reference = batches[scanners.reference] if params.mode == "pairs" else ""
        own = tuple(sorted(batches.values()))
        shape = Shape.of(params, site.schema)
        cut = stack(site, together(site, params, own, reference), shape, own)
        of_batch = {batch: name for name, batch in batches.items()}
        return self.bench_of(site, cut, shape, tuple(of_batch[name] for name in own))

    def bench_of(self, site: Site, cut: Stack, shape: Shape, names: tuple[str, ...]) -> Bench:
        """Units with their first weights for the scanners of some slices."""
        nets = networks(self.params, len(cut.scanners), seed=site.seed, device=site.device)
        return Bench(networks=nets, stack=cut, shape=shape, names=names)

    def samples(
        self, bench: Bench, kept: Mapping[str, Any], stage: Stage, *, seed: int, turn: int
    ) -> Samples:
        """Slices, and what the sites have in common of each, at the pixels of a turn."""
        from motet.training.samples import Samples

        cut = bench.stack
        arrays: dict[str, NDArray[Any]] = {"x": cut.x, "there": cut.there.astype(np.int8)}
        if self.params.mode == "sites":
            stride = self.params.stride
            arrays["corner"] = corners(cut.people, cut.parts, stride=stride, seed=seed, turn=turn)
            for name in COMMON[stage]:
                keys = list(dict.fromkeys(cut.people.tolist()))
                arrays[name] = np.concatenate([kept[f"{name}/{key}"] for key in keys])
        nobody = np.zeros(len(cut), dtype=np.intp)
        return Samples(arrays=arrays, people=cut.people, parts=cut.parts, batch=nobody)

    def update(self, scanners: int, stage: Stage) -> Update:
        """The optimizer's step of a stage, and its losses."""
        from motet.harmonizers.mispel.losses import Apart, Together
        from motet.training.phase import Update

        losses: Any = Together()
        if self.params.mode == "sites":
            losses = Apart(scanners=len(self.schema.batches), stride=self.params.stride)
        parts = ("encoder", "decoder") if stage == "embedding" else ("decoder",)
        return Update(
            name=stage,
            groups=tuple(f"{part}{k}" for k in range(scanners) for part in parts),
            optimizer={"name": "adam", "lr": self.params.learning_rate},
            losses=getattr(losses, stage),
            weights=self.weights(stage),
            weighing=self.rising if stage == "embedding" and self.params.rising else None,
            rate=None if self.params.train.preset == "paper" else falling,
        )

    def turn(self, site: Site, stage: Stage) -> None:
        """Train for `refresh` epochs, or those that are left, and keep what came of it."""
        done, bench = turns_done(site.keep, stage), self.bench(site)
        self.train(site, bench, stage, self.params.refresh, turn=done)
        if site.folder is not None:
            per_epoch = self.per_epoch(len(bench.stack))
            write_log(site.folder / LOG, self.lines(site.keep, per_epoch), readable_by=OWNER)

    def per_epoch(self, slices: int) -> int:
        """Steps of an epoch."""
        return math.ceil(slices / self.of_step(slices))

    def of_step(self, slices: int) -> int:
        """Slices of a step."""
        return min(self.params.train.batch or slices, slices)

    def lines(self, kept: Mapping[str, Any], per_epoch: int) -> list[dict[str, Any]]:
        """The site's own log of both steps: a line a turn, means over its slices. It stays here."""
        found: list[dict[str, Any]] = []
        for stage in COMMON:
            names, steps = sorted(self.weights(stage)), per_epoch * self.epochs(stage)
            for turn, means in enumerate(kept.get(f"losses.{stage}", ())):
                step = min(steps, per_epoch * self.params.refresh * (turn + 1))
                own = {f"{stage}.{n}": float(m) for n, m in zip(names, means, strict=True)}
                found.append(
                    {"phase": stage, "exchange": turn, "step": step, "steps": steps, **own}
                )
        return found

    def train(self, site: Site, bench: Bench, stage: Stage, epochs: int, *, turn: int) -> None:
        """The same of any units, beside what sites made together in a turn.

        Raises
        ------
        TrainingError
            When a loss is no number any more.
        """
        from motet.training.device import steady
        from motet.training.feed import Feed
        from motet.training.gradients import summed_gradients, total_of
        from motet.training.optimizer import Optimizer
        from motet.training.order import Order

        nets, how = bench.networks, self.params.train
        with steady(how.threads):
            samples = self.samples(bench, site.keep, stage, seed=site.seed, turn=turn)
            keys = samples.keys(site.seed)
            per_epoch = self.per_epoch(len(samples))
            order = Order.alike(keys, per_epoch=per_epoch)
            feed = Feed(samples, keys, dtype=nets.dtype, device=nets.device)
            update = self.update(len(bench.names), stage)
            optimizer = Optimizer(nets, update)
            known, at = _known(site.keep, stage)
            optimizer.take(known, dict.fromkeys(update.groups, at.ran))
            steps = per_epoch * self.epochs(stage)
            last = min(steps, at.step + per_epoch * epochs)
            begun = Moment(step=at.step, steps=steps, per_epoch=float(per_epoch))
            losses: dict[str, list[Any]] = {name: [] for name in update.weights}
            seen, ran = 0, at.ran
            rows = {step: order.due(step) for step in range(at.step, last)}
            for due in feed.ahead(rows):
                if not due.samples:
                    continue
                moment = begun.at(due.step)
                found = summed_gradients(nets, update, feed, due, moment, mean=True)
                optimizer.step(found.of, moment)
                seen, ran = seen + due.samples, ran + 1
                for name, parts in found.losses.items():
                    losses[name] += parts
            means = [total_of(losses[name]) / max(1, seen) for name in sorted(losses)]
        if not np.isfinite(means).all():
            raise TrainingError(
                f"A loss of the {stage} is no longer a finite number (steps {at.step} to {last}). "
                "Nothing of it was sent.",
                do="A smaller params.learning_rate; or look for people with extreme values.",
                site=site.name,
            )
        keep(nets, bench.names, site.keep, precision(self.params))
        _remember(site.keep, stage, optimizer.moments(), _At(step=last, ran=ran), means)


def turns_done(kept: Mapping[str, Any], stage: Stage) -> int:
    """Turns of a stage that are over: each left its losses."""
    return len(kept.get(f"losses.{stage}", ()))


@dataclass(frozen=True)
class _At:
    """Where a stage is: steps of its schedule, and of the optimizer."""

    step: int
    ran: int


def _known(kept: Mapping[str, Any], stage: Stage) -> tuple[dict[str, Any], _At]:
    start = f"{MOMENTS}{stage}."
    moments = {n.removeprefix(start): a for n, a in kept.items() if n.startswith(start)}
    at = kept.get(f"at.{stage}")
    return moments, _At(0, 0) if at is None else _At(*map(int, at))


def _remember(
    kept: Any, stage: Stage, moments: Mapping[str, Any], at: _At, losses: list[float]
) -> None:
    """Keep what the next turn goes on from; moments of the stage before are of no use any more."""
    for name in [name for name in kept if name.startswith(MOMENTS)]:
        del kept[name]
    for name, moment in moments.items():
        kept[f"{MOMENTS}{stage}.{name}"] = moment
    kept[f"at.{stage}"] = np.array([at.step, at.ran])
    row = np.array([losses])
    before = kept.get(f"losses.{stage}")
    kept[f"losses.{stage}"] = row if before is None else np.concatenate([before, row])

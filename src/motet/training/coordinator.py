"""The coordinator's half of a training: networks, their optimizers, running means, the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from motet.training.device import steady
from motet.training.moment import Moment
from motet.training.networks import build
from motet.training.optimizer import Optimizer
from motet.training.phase import (
    CONTROL,
    EMA,
    LOSSES,
    MOMENTS,
    SAMPLES,
    VALIDATED,
    VALIDATION,
    Train,
    Turn,
    Update,
)

Numbers = Mapping[str, NDArray[Any]]
ROWS = 500
"""Lines of a training's log, at most: exchanges of exact mode are told of together."""


class Trainer:
    """Networks at the coordinator between exchanges.

    Parameters
    ----------
    train : Train
    sizes : mapping of str to int
    seed : int
    samples : int
        All sites' samples of the fit.
    """

    def __init__(self, train: Train, *, sizes: Mapping[str, int], seed: int, samples: int) -> None:
        trained = train.trained_of(samples)
        self.train, self.steps = train, train.steps(trained)
        self._per_epoch = train.per_epoch(trained)
        self.expected = train.samples_a_step(trained)
        """Samples of a step, on average."""
        self.sizes = sizes
        self._seed = seed
        self._networks = build(train, sizes, seed=seed)
        self._optimizers = {u.name: Optimizer(self._networks, u) for u in train.updates}
        self._server = self._server_optimizer()
        names = [group.name for group in train.leaving]
        self._ema = {n: self._networks.parameters(n) for n in names if train.group(n).ema}
        self._averaged: dict[str, NDArray[Any]] = {}
        """Moments of the sites' optimizers, and their control variates."""
        self._best: dict[str, NDArray[Any]] = {}
        self._best_loss = np.inf
        self._number = 0
        self._open: dict[tuple[str, str, str], list[float]] = {}
        """(site, update, loss) -> sum and samples since the last line; no site: over all."""

    def begin(self, shared: Numbers) -> int:
        """Make the first weights; returns the first exchange."""
        if self.train.first is not None:
            with steady(self.train.options.threads):
                self.train.first(self._networks, self.train, shared, self._seed)
            for name in self._ema:
                self._ema[name].copy_(self._networks.parameters(name))
        return 0

    def _server_optimizer(self) -> Optimizer:
        names = tuple(group.name for group in self.train.leaving)
        adam = {"name": "adam", "lr": self.train.options.server_rate, "betas": (0.9, 0.99)}
        adam |= {"eps": 1e-3}  # as in the paper: small changes are not blown up
        update = Update(
            name="server", groups=names, optimizer=adam, losses=_none, weights={"none": 1.0}
        )
        return Optimizer(self._networks, update)

    def turns(self, start: int) -> Iterator[Turn]:
        """The exchanges from `start` on."""
        total = self.train.exchanges(self.steps)
        for number in range(start, total):
            yield self.train.turn(number)
        if self.train.options.validation and start <= total:
            yield self.train.closing(self.steps)

    def told(self, turn: Turn) -> dict[str, NDArray[Any]]:
        """What sites are given: networks, and moments where these are averaged.

        Where they validate, running means, too: what is judged is what would be given out.
        """
        # As they are: of large networks, wider copies take as long as what a GPU does in a step.
        found = {g.name: self._networks.numbers(g.name).numpy() for g in self.train.leaving}
        if turn.validates:
            means, kind = self._finished(), found[self.train.leaving[0].name].dtype
            found |= {f"{name}.{EMA}": means[name].astype(kind) for name in self._ema}
        named = {f"{self.train.name}.{name}": array for name, array in found.items()}
        return named | {f"{self.train.name}.{key}": array for key, array in self._averaged.items()}

    def _named(self, vectors: Numbers) -> dict[str, NDArray[Any]]:
        """``<train>.<group>``, in the precision of the networks."""
        kind = np.float64 if self.train.options.precision == "float64" else np.float32
        return {f"{self.train.name}.{name}": a.astype(kind) for name, a in vectors.items()}

    def step(self, turn: Turn, gradients: Numbers) -> None:
        """A step of exact mode along mean gradients."""
        with steady(self.train.options.threads):
            optimizer = self._optimizers[turn.update]
            parts = {name: self._parts(name, gradients[name]) for name in turn.leaving}
            moment = Moment(step=turn.first, steps=self.steps, per_epoch=self._per_epoch)
            optimizer.step(parts, moment)
            self._follow(turn, turn.leaving)
            if self.train.options.mode == "local" and self.train.options.moments == "averaged":
                kept = self.train.update(turn.update).moments
                self._averaged |= {
                    key: moment
                    for key, moment in optimizer.moments().items()
                    if _of(key, turn) and key.endswith(kept)
                }

    def count(self, name: str) -> int:
        """How many numbers of a group are parameters; buffers come after them."""
        return self._networks.count(name)

    def move(self, turn: Turn, changes: Numbers, step_sizes: Mapping[str, float]) -> None:
        """Add what networks and moments changed by.

        Parameters
        ----------
        turn : Turn
        changes : mapping of str to ndarray
        step_sizes : mapping of str to float
            Factors on the changes of groups' parameters; 1 of those that have none.
        """
        moved = tuple(name for name in turn.leaving if name in changes)
        for name in moved:
            vector = self._networks.vector(name) + changes[name]
            if name in step_sizes:
                count = self.count(name)
                vector[:count] += (step_sizes[name] - 1.0) * changes[name][:count]
            self._networks.load(name, vector)
        self._networks.refresh(moved)
        self._take_moments(changes)
        self._follow(turn, moved)

    def adapt(self, turn: Turn, changes: Numbers) -> None:
        """A step of the coordinator's own optimizer against what networks changed by."""
        with steady(self.train.options.threads):
            moved = tuple(name for name in turn.leaving if name in changes)
            parts = {name: self._parts(name, -changes[name]) for name in moved}
            self._server.step(parts, Moment(step=turn.first, steps=self.steps, per_epoch=1.0))
            self._take_moments(changes)
            self._follow(turn, moved)

    def _parts(self, name: str, array: NDArray[Any]) -> list[torch.Tensor]:
        """What came of a group's parameters, one a parameter; buffers have no gradient."""
        flat = self._networks.flat(name, torch.from_numpy(np.ascontiguousarray(array)))
        flat = flat[: self._networks.count(name)].to(self._networks.dtype)
        return self._networks.parts(name, flat)

    def _take_moments(self, changes: Numbers) -> None:
        for key, change in changes.items():
            group, _, what = key.rpartition(".")
            if group and what in (*MOMENTS, CONTROL):
                found = self._averaged.get(key, 0.0) + change
                # Squares stay squares where their sum was rounded.
                self._averaged[key] = np.maximum(found, 0.0) if key.endswith("_sq") else found

    def _follow(self, turn: Turn, moved: tuple[str, ...]) -> None:
        """Move the running means of groups, by the updates of each since it last left."""
        for name in set(moved) & set(self._ema):
            group = self.train.group(name)
            update = self.train.update_of(name)
            before = turn.first if turn.exact else turn.after - self.train.every(group)
            decay = group.ema ** (update.ran(turn.after) - update.ran(before))
            self._ema[name].lerp_(self._networks.parameters(name), 1.0 - decay)

    def note(
        self, turn: Turn, sums: Numbers, of_sites: Mapping[str, Numbers]
    ) -> dict[str, Any] | None:
        """Take note of an exchange before its step; a line of the log where one is due.

        Parameters
        ----------
        turn : Turn
        sums : mapping of str to ndarray
            Over all sites.
        of_sites : mapping of str to mapping
            Each site's own, where these can be read.
        """
        train = self.train
        self._number = turn.number + 1
        # A private training sends neither counts nor losses.
        for site, sent in ({} if train.private else {"": sums, **of_sites}).items():
            self._add(turn, site, sent)
        judged = _validation(turn, sums)
        if judged is not None and judged < self._best_loss:
            self._best_loss, self._best = judged, self._finished()
        total = max(1, train.exchanges(self.steps))
        each = -(-total // ROWS)
        last = turn.number + 1 >= total
        if judged is None and not last and (turn.number + 1) % each:
            return None
        row: dict[str, Any] = {"phase": train.name, "exchange": turn.number}
        row |= {"step": turn.after, "steps": self.steps}
        row |= self._means("")
        if judged is not None:
            row |= {VALIDATION: judged, VALIDATED: turn.first}
        if of_sites:
            row["sites"] = {site: self._means(site) for site in sorted(of_sites)}
            for site, sent in of_sites.items():
                if (own := _validation(turn, sent)) is not None:
                    row["sites"][site][VALIDATION] = own
        self._open = {}
        return row

    def _add(self, turn: Turn, site: str, sent: Numbers) -> None:
        """Add losses to those since the last line of the log."""
        if turn.after == turn.first:
            return
        names = self.train.names(turn)
        counts = dict(zip(dict.fromkeys(u for u, _ in names), sent[SAMPLES], strict=True))
        for (update, name), loss in zip(names, sent[LOSSES], strict=True):
            so_far = self._open.setdefault((site, update, name), [0.0, 0.0])
            so_far[0] += float(loss)
            so_far[1] += float(counts[update])

    def _means(self, site: str) -> dict[str, float]:
        found = {(u, n): sums for (of, u, n), sums in sorted(self._open.items()) if of == site}
        return {f"{u}.{n}": total / count for (u, n), (total, count) in found.items() if count}

    def _finished(self) -> dict[str, NDArray[Any]]:
        """The networks as they would be given out now: running means where there are some."""
        found = {}
        for group in self.train.leaving:
            if group.name in self._ema:
                rest = self._networks.buffers[group.name]
                flat = torch.cat([self._ema[group.name], rest]).to("cpu", torch.float64)
                found[group.name] = self._networks.shaped(group.name, flat).numpy()
            else:
                found[group.name] = self._networks.vector(group.name)
        return found

    def model(self) -> dict[str, NDArray[Any]]:
        """``<train>.<group>``: the best networks by validation, or the last."""
        return self._named(self._best or self._finished())

    def state(self) -> dict[str, NDArray[Any]]:
        """All that a training goes on from."""
        found: dict[str, NDArray[Any]] = {
            "number": np.asarray(self._number),
            "best_loss": np.asarray(self._best_loss),
        }
        names = [group.name for group in self.train.leaving]
        found |= {f"networks/{name}": self._networks.vector(name) for name in names}
        found |= {f"best/{name}": array for name, array in self._best.items()}
        found |= {f"averaged/{key}": array for key, array in self._averaged.items()}
        found |= {
            f"ema/{name}": flat.to("cpu", torch.float64).numpy() for name, flat in self._ema.items()
        }
        for name, optimizer in self._optimizers.items():
            found |= {f"optimizer/{key}": a for key, a in optimizer.moments().items()}
            found |= {f"ran/{name}/{g}": np.asarray(n) for g, n in optimizer.ran.items()}
        found |= {f"server/{key}": a for key, a in self._server.moments().items()}
        found |= {f"server_ran/{g}": np.asarray(n) for g, n in self._server.ran.items()}
        for (site, update, loss), (total, count) in self._open.items():
            found[f"open/{site}/{update}/{loss}"] = np.asarray([total, count])
        return found

    def resume(self, state: Numbers) -> int:
        """Go on from :meth:`state`; returns the next exchange."""
        self._number = int(state["number"])
        self._best_loss = float(state["best_loss"])
        for group in self.train.leaving:
            self._networks.load(group.name, state[f"networks/{group.name}"])
        self._best = _under(state, "best/")
        self._averaged = _under(state, "averaged/")
        for name, array in _under(state, "ema/").items():
            self._ema[name].copy_(torch.from_numpy(np.array(array)))
        moments = _under(state, "optimizer/")
        for name, optimizer in self._optimizers.items():
            ran = {g: int(n) for g, n in _under(state, f"ran/{name}/").items()}
            optimizer.take(moments, ran)
        ran = {g: int(n) for g, n in _under(state, "server_ran/").items()}
        self._server.take(_under(state, "server/"), ran)
        for key, array in _under(state, "open/").items():
            site, update_name, loss = key.split("/")
            self._open[site, update_name, loss] = [float(x) for x in array]
        return self._number


def _validation(turn: Turn, sent: Numbers) -> float | None:
    """The mean validation loss; None where nobody was judged."""
    if not turn.validates or not int(sent[VALIDATED]):
        return None
    return float(sent[VALIDATION]) / int(sent[VALIDATED])


def _of(key: str, turn: Turn) -> bool:
    return key.rpartition(".")[0] in turn.leaving


def _under(state: Numbers, prefix: str) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): a for k, a in state.items() if k.startswith(prefix)}


def _none(networks: Any, batch: Mapping[str, Any], draws: Any) -> Mapping[str, Any]:
    """Losses of an optimizer that is given its gradients."""
    return {}

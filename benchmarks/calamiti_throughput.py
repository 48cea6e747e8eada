"""Slices per second of CALAMITI's training through the engine, beside a plain PyTorch loop.

    python benchmarks/calamiti_throughput.py [--preset small] [--pixels 96] [--batch 8] [--steps 12]
                                             [--slices 64] [--repeats 5] [--device cpu|cuda]

Exact mode, one site, in one process, on made-up pairs of slices. In turns:

* ``engine``: exchanges as a simulation has them: the coordinator tells networks, the site sums
  gradients, the coordinator takes the step and says what it would write down;
* ``plain``: what a PyTorch user would write with the same networks and losses: shuffled indices,
  ``randn``, mean losses, ``backward``, torch's fused Adam, critic and generator when each is due.

Medians over the repeats of ratios of slices a second. On the CPU a process' own time is measured,
on a GPU the clock's; there memory and utilisation are printed, too, and how long a training of 4
sites of 20 people takes at this rate, with ``--each`` slices of a person.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.training import CRITIC, train_phase
from motet.schema import Batch, Schema
from motet.strategies.exact import exact
from motet.strategies.in_place import InPlace
from motet.training.samples import Drawn, Samples
from motet.training.workshop import workshop

SCANNERS, PEOPLE = 4, 80


@dataclass
class Site:
    """What a training reads of a site."""

    schema: Schema
    device: str
    name: str = "here"
    seed: int = 1
    keep: dict[str, Any] = field(default_factory=dict)
    scratch: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Timed(InPlace):
    """One site of this process; notes when every exchange was over."""

    clock: Callable[[], float]
    over: list[float] = field(default_factory=list)

    def of(self, turn: Any, /) -> InPlace:
        return self

    def keep(self, turn: Any, state: Any, row: Any, /) -> None:
        self.over.append(self.clock())


@dataclass
class Plain:
    """Draws as anybody makes them."""

    count: int
    step: int
    device: torch.device

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        return torch.rand(self.count, *shape, device=self.device)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, device=self.device)

    def gumbel(self, purpose: str, *shape: int) -> Tensor:
        return -torch.log(-torch.log(self.uniform(purpose, *shape).clamp(1e-7, 1 - 1e-7)))

    def integers(self, purpose: str, below: int) -> Tensor:
        return torch.randint(below, (self.count,), device=self.device)


def made_up(slices: int, pixels: int) -> Samples:
    rng = np.random.default_rng(0)
    made = ndimage.gaussian_filter(rng.standard_normal((slices, pixels, pixels)), (0, 3, 3))
    y, x = np.mgrid[-1 : 1 : pixels * 1j, -1 : 1 : pixels * 1j]
    brain = np.broadcast_to(x**2 + y**2 < 0.8, made.shape)
    pair = np.stack([0.25 + made, 0.25 - 0.6 * made], axis=1) * brain[:, None]
    everybody, batch = np.arange(slices), np.arange(slices) % SCANNERS
    return Samples(
        arrays={
            "x": pair.astype(np.float32),
            "brain": brain.astype(np.uint8),
            "label": batch.astype(np.int64),
        },
        drawn={
            "other": Drawn(
                array=pair.astype(np.float32),
                first=np.zeros(slices, dtype=np.intp),
                count=np.full(slices, slices),
            )
        },
        constants={"cumulated": np.arange(1, 2 * SCANNERS + 1) / (2.0 * SCANNERS)},
        people=np.array([f"sub-{k}" for k in everybody]),
        batch=batch.astype(np.intp),
    )


class Loop:
    """The plain loop; it goes on from repeat to repeat, as a training does."""

    def __init__(self, train: Any, samples: Samples, sizes: Mapping[str, int], device: Any) -> None:
        self.train, self.device, self.step = train, device, 0
        torch.manual_seed(0)
        self.net = train.build(sizes).to(device)
        self.arrays = {k: torch.from_numpy(a).to(device) for k, a in samples.arrays.items()}
        self.constant = torch.from_numpy(samples.constants["cumulated"]).float().to(device)
        self.groups = {
            update.name: [p for g in update.groups for p in getattr(self.net, g).parameters()]
            for update in train.updates
        }
        rate = train.updates[0].optimizer["lr"]
        self.adam = {n: torch.optim.Adam(p, lr=rate, fused=True) for n, p in self.groups.items()}

    def run(self, steps: int) -> None:
        count, size = len(self.arrays["x"]), self.train.options.batch
        order = torch.randperm(count)
        for _ in range(steps):
            at = self.step * size % count
            rows = torch.cat([order, order])[at : at + size].to(self.device)
            self._step({name: array[rows] for name, array in self.arrays.items()}, len(rows))

    def _step(self, batch: dict[str, Tensor], size: int) -> None:
        other = torch.randint(len(self.arrays["x"]), (size,), device=self.device)
        batch |= {"other": self.arrays["x"][other], "cumulated": self.constant}
        for update in self.train.updates:
            if update.runs(self.step):
                self._update(update, batch, size)
        self.step += 1

    def _update(self, update: Any, batch: dict[str, Tensor], size: int) -> None:
        for name, parameters in self.groups.items():
            for parameter in parameters:
                parameter.requires_grad_(name == update.name)
        losses = update.losses(self.net, batch, Plain(size, self.step, self.device))
        total = sum(update.weights[name] * loss.mean() for name, loss in losses.items())
        self.adam[update.name].zero_grad(set_to_none=True)
        total.backward()
        self.adam[update.name].step()
        if update.name == CRITIC:
            for module in self.net.critic.modules():
                if hasattr(module, "refresh"):
                    module.refresh()


class Watch:
    """Utilisation of the GPU meanwhile, per cent, as nvidia-smi says it."""

    def __init__(self, device: torch.device) -> None:
        self.seen: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        if device.type == "cuda":
            self._thread.start()

    def _look(self) -> None:
        ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._over.wait(0.5):
            said = subprocess.run(ask, capture_output=True, text=True).stdout.split()
            self.seen += [float(said[0])] if said else []

    def stop(self) -> list[float]:
        self._over.set()
        return self.seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="small", choices=["paper", "small", "tiny"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pixels", type=int, default=0, help="0: the preset's")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--each", type=int, default=520, help="slices of a person")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(asked.device)
    how = {"preset": asked.preset, "mode": "exact", "batch": asked.batch, "steps": asked.steps}
    how |= {"epochs": 0.0, "precision": asked.precision, "compile": asked.compile}
    sizes = {"pixels": asked.pixels} if asked.pixels else {}
    params = CalamitiParams.model_validate({"train": {**how, "transfer": "float32"}, **sizes})
    # As long as the preset's training is for 4 sites of 20 people.
    whole = CalamitiParams.model_validate({"train": {"preset": asked.preset}}).train
    batches = tuple(Batch("here", f"b{k}") for k in range(SCANNERS))
    schema = Schema(features=("f",), units=("",), covariates=(), batches=batches)
    samples = made_up(asked.slices, params.pixels)
    train = replace(train_phase(params), samples=lambda site, shared: samples)
    shared = {"slices": np.asarray(asked.slices), "cumulated": samples.constants["cumulated"]}
    site: Any = Site(schema=schema, device=asked.device)
    cycle = math.lcm(*(update.period for update in train.updates))
    if asked.steps % cycle or asked.steps == cycle:
        parser.error(f"--steps: a multiple of {cycle}, after which updates repeat, and more")

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        # A process' own time is the same whoever else the machine works for.
        return time.process_time()

    def engine() -> float:
        ask = Timed(sites={"here": site}, sizes=schema.sizes, seed=1, clock=now)
        exact(train, ask, shared)
        order = workshop(train, site, shared).order
        # From the end of the first cycle of updates: networks are made before it.
        seen = sum(len(order.due(step)) for step in range(cycle, asked.steps))
        return seen / (ask.over[-1] - ask.over[train.exchanges(cycle) - 1])

    loop = Loop(train, samples, schema.sizes, device)

    def plain() -> float:
        began = now()
        loop.run(asked.steps)
        return asked.steps * asked.batch / (now() - began)

    engine(), plain()
    watch, found = Watch(device), []
    for _ in range(asked.repeats):
        found.append((engine(), plain()))
    busy = watch.stop()
    rate = statistics.median(a for a, _ in found)
    ratios = [a / b for a, b in found]
    count = sum(p.numel() for p in loop.net.parameters())
    print(
        f"{asked.device}, {asked.preset}, {count:,} parameters, {params.pixels} pixels, batch "
        f"{asked.batch}, {asked.precision}"
    )
    print(f"  engine: {rate:.2f} pairs of slices a second")
    print(f"  plain: {statistics.median(b for _, b in found):.2f}")
    print(
        f"  engine / plain: {statistics.median(ratios):.3f} ({min(ratios):.3f} to "
        f"{max(ratios):.3f} in {len(ratios)} repeats)"
    )
    steps = min(whole.steps, whole.epochs * PEOPLE * asked.each / asked.batch or whole.steps)
    print(
        f"  4 sites of 20 people, {asked.each} slices each, {steps:,.0f} steps at this rate: "
        f"{steps * asked.batch / rate / 60:,.0f} minutes"
    )
    if device.type == "cuda":
        print(f"  memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        print(f"  GPU busy (nvidia-smi): {statistics.median(busy) if busy else 0:.0f} %")


if __name__ == "__main__":
    main()

"""What the engine costs beside forward and backward passes, and beside a plain PyTorch loop.

    python benchmarks/training_overhead.py [--device cpu|cuda] [--features 150] [--people 900]
                                           [--batch 64] [--steps 100] [--repeats 41] [--width 1]

DeepComBat's autoencoder at the size that ``small`` has for so many features (``--width`` times as
wide), on made-up people of ten scanners at one site. In turns, in one process:

* ``engine``: ``steps`` steps of local mode, as a site takes them between two exchanges;
* ``plain``: the loop that a PyTorch user would write: shuffled indices, ``randn``, mean losses,
  ``backward``, torch's fused Adam, on the same samples;
* ``passes``: forward and backward passes of the engine's own steps, alone; and with the optimizer's
  steps, which every training has.

Medians over the repeats of ratios within each. On a GPU the utilisation is that of ``nvidia-smi``
meanwhile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from motet.harmonizers.deepcombat.networks import CVAE
from motet.harmonizers.deepcombat.params import DeepComBatParams
from motet.harmonizers.deepcombat.training import train_phase
from motet.schema import Batch, Covariate, Schema
from motet.training.at_site import train_at_site
from motet.training.coordinator import Trainer
from motet.training.gradients import losses_of, weights_at
from motet.training.moment import Moment
from motet.training.optimizer import Optimizer
from motet.training.samples import Samples
from motet.training.workshop import workshop

SCANNERS, COLUMNS = 10, 3


@dataclass
class Site:
    """What a training reads of a site."""

    name: str
    schema: Schema
    device: str
    seed: int = 1
    keep: dict[str, Any] = field(default_factory=dict)
    scratch: dict[str, Any] = field(default_factory=dict)


def made_up(people: int, features: int) -> Samples:
    rng = np.random.default_rng(0)
    batch = rng.integers(0, SCANNERS, people)
    latent = rng.standard_normal((people, 12))
    x = latent @ rng.standard_normal((12, features)) / 3 + rng.standard_normal((people, features))
    return Samples(
        arrays={
            "x": x,
            "w": rng.random((people, COLUMNS)),
            "member": np.eye(SCANNERS)[batch],
        },
        constants={"used": np.ones(features)},
        people=np.array([f"sub-{i}" for i in range(people)]),
        batch=batch.astype(np.intp),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--features", type=int, default=150)
    parser.add_argument("--people", type=int, default=900)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(asked.device)

    names = tuple(f"c{i}" for i in range(COLUMNS))
    schema = Schema(
        features=tuple(f"f{j}" for j in range(asked.features)),
        units=("",) * asked.features,
        covariates=tuple(Covariate(name=name, kind="continuous") for name in names),
        batches=tuple(Batch("here", f"b{k}") for k in range(SCANNERS)),
    )
    train_options = {
        "preset": "small",
        "steps": asked.steps,
        "epochs": 0,
        "local_steps": asked.steps,
        "batch": asked.batch,
        "compile": asked.compile,
    }
    params = DeepComBatParams.model_validate({"train": train_options})
    widths = tuple(asked.width * w for w in params.widths(asked.features))
    params = params.model_copy(update={"dims": widths})
    samples = made_up(asked.people, asked.features)
    train = replace(train_phase(params, schema), first=None, samples=lambda site, shared: samples)
    shared = {"people": np.asarray(asked.people)}
    trainer = Trainer(train, sizes=schema.sizes, seed=1, samples=asked.people)
    told = {**shared, **trainer.told(train.turn(0))}
    site: Any = Site(name="here", schema=schema, device=asked.device)
    turn = train.turn(0)

    def sync() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def engine() -> None:
        train_at_site(train, turn, site, told)

    engine()
    shop = workshop(train, site, told)
    rows = {step: shop.due(step) for step in range(asked.steps)}
    seen = sum(map(len, rows.values()))
    update = train.updates[0]

    still = {n: [torch.zeros_like(leaf) for leaf in v] for n, v in shop.networks.leaves.items()}
    moved = Optimizer(shop.networks, update)

    def passes(*, moves: bool = False) -> None:
        for due in shop.feed.ahead(rows):
            moment = Moment(step=due.step, steps=asked.steps, per_epoch=14.0)
            weights = weights_at(update, moment)
            (portion,) = due.portions()
            found = losses_of(shop.feed.made(update.losses), shop.networks, portion)
            total = torch.stack([weights[n] * v.sum() for n, v in found.items()]).sum()
            leaves = [p for name in update.groups for p in shop.networks.leaves[name]]
            torch.autograd.grad(total, leaves)
            if moves:
                moved.step(still, moment)

    tensors = {k: torch.from_numpy(v).float().to(device) for k, v in samples.arrays.items()}
    net = CVAE(asked.features, COLUMNS, SCANNERS, widths).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001, fused=True)

    def plain() -> None:
        done = 0
        while done < seen:
            order = torch.randperm(asked.people)
            for start in range(0, asked.people, asked.batch):
                index = order[start : start + asked.batch].to(device)
                x, w, m = (tensors[k][index] for k in ("x", "w", "member"))
                mu, log_var = net.encode(x, w, m)
                z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
                error = (net.decode(z, w, m) - x).square().sum(dim=1).mean()
                kl = 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(dim=1).mean()
                optimizer.zero_grad(set_to_none=True)
                (error + 0.1 * kl).backward()
                optimizer.step()
                done += len(index)
                if done >= seen:
                    break

    # A process' own time is the same whoever else the machine works for; a GPU has to be waited
    # for.
    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def timed(what: Callable[[], None]) -> float:
        sync()
        began = clock()
        what()
        sync()
        return clock() - began

    plain(), passes()
    times: dict[str, list[float]] = {
        "engine": [],
        "plain": [],
        "passes": [],
        "passes and steps": [],
    }
    used: list[float] = []
    for _ in range(asked.repeats):
        times["plain"].append(timed(plain))
        times["engine"].append(timed(engine))
        times["passes"].append(timed(passes))
        times["passes and steps"].append(timed(lambda: passes(moves=True)))
        if device.type == "cuda":
            smi = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            used.append(
                float(subprocess.run(smi, capture_output=True, text=True).stdout.split()[0])
            )
    median = {name: statistics.median(found) for name, found in times.items()}

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))

    count = sum(p.numel() for p in net.parameters())
    print(f"{asked.device}, {count} parameters, batch {asked.batch}, {asked.steps} steps")
    for name, seconds in median.items():
        print(
            f"  {name}: {seconds / asked.steps * 1e3:.3f} ms a step, {seen / seconds:.0f} samples/s"
        )
    print(f"  engine / plain, samples a second: {ratio('plain', 'engine'):.3f}")
    outside = 1 - ratio("passes and steps", "engine")
    print(f"  outside of forward, backward and optimizer: {outside:.3f}")
    print(f"  outside of forward and backward: {1 - ratio('passes', 'engine'):.3f}")
    print(f"  the plain loop's: {1 - ratio('passes', 'plain'):.3f}")
    flops = 6.0 * count * seen
    print(f"  {flops / median['engine'] / 1e9:.1f} GFLOP/s (6 a parameter and sample)")
    if used:
        print(f"  GPU busy (nvidia-smi): {statistics.median(used):.0f} %")


if __name__ == "__main__":
    main()

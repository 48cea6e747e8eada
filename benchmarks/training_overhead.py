"""What the engine costs beside a plain PyTorch loop, and on a CPU what its time is spent on.

    python benchmarks/training_overhead.py [--device cpu|cuda] [--features 150] [--people 900]
                                           [--batch 64] [--steps 64] [--repeats 41] [--width 1]

``training_loops.py`` says what is compared. In one process, in an order drawn anew each time:
medians over the repeats of the ratio of both loops' times, and how many kernels a step starts,
which a GPU is bound by while networks are small; on a CPU it is counted with draws and gathering as
on a GPU. On a GPU the utilisation is that of ``nvidia-smi`` meanwhile.

On a CPU, where nothing runs while nobody waits for it, an account of either loop follows
(``accounts.py``), and the engine's less what forward and backward passes in a loop of their own
take besides: to free memory, most of all. Exits with 1 where the ratio is below 0.95, or that rest
above 0.05.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from accounts import ELSE, Accounts
from training_loops import ENGINE, PLAIN, Kernels, Loops, as_on_a_gpu

PASSES = ("forward", "backward")
ARITHMETIC = (*PASSES, "optimizer", "control variates")
WITHOUT = {
    "forward and backward": PASSES,
    "these and the optimizer": (*PASSES, "optimizer"),
    "these and control variates": ARITHMETIC,
    "these and rows and draws": (*ARITHMETIC, "rows and draws"),
}
"""Of what a loop's time is shown without, and which purposes these are."""

RATIO, OWN = 0.95, 0.05
"""The least of the plain loop's samples a second, which is asked for, and the most of the engine's
own time: 0.05 was asked for of all time outside of forward and backward, which no loop of small
networks has."""


def busy() -> float:
    """Utilisation of the GPU in per cent."""
    smi = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    return float(subprocess.run(smi, capture_output=True, text=True).stdout.split()[0])


def show_accounts(loops: Loops, repeats: int) -> float:
    """Print what the time of both loops is spent on, medians over the repeats; the engine's own."""
    ways = {
        "passes": (loops.passes, ENGINE),
        "engine": (loops.engine, ENGINE),
        "plain": (loops.plain, PLAIN),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    shuffled = random.Random(1)
    for _ in range(repeats):
        for name in shuffled.sample(list(ways), len(ways)):
            way, calls = ways[name]
            accounts = Accounts(calls)
            with accounts.watching():
                way()
            found[name].append(accounts.shares())
    median = statistics.median
    # What forward and backward passes alone take besides, beside the passes themselves.
    freeing = median(one[ELSE] / sum(one[p] for p in PASSES) for one in found["passes"])
    for name in ("engine", "plain"):
        shares = {p: median(one[p] for one in found[name]) for p in found[name][0]}
        print(f"  {name}: " + ", ".join(f"{p} {share:.3f}" for p, share in shares.items()))
        for words, purposes in WITHOUT.items():
            rest = median(1 - sum(one.get(p, 0.0) for p in purposes) for one in found[name])
            print(f"    outside of {words}: {rest:.3f}")
    own = median(
        1
        - sum(one[p] for p in WITHOUT["these and rows and draws"])
        - freeing * sum(one[p] for p in PASSES)
        for one in found["engine"]
    )
    print(f"    the engine's, less what passes alone take besides, as freeing memory: {own:.3f}")
    return own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--features", type=int, default=150)
    parser.add_argument("--people", type=int, default=900)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    loops = Loops(
        features=asked.features,
        people=asked.people,
        batch=asked.batch,
        steps=asked.steps,
        width=asked.width,
        device=asked.device,
        compiled=asked.compile,
    )
    on_cpu = loops.device.type == "cpu"

    def sync() -> None:
        if not on_cpu:
            torch.cuda.synchronize()

    # A process' own time is the same whoever else the machine works for; a GPU has to be waited
    # for.
    clock = time.process_time if on_cpu else time.perf_counter

    def timed(what: Callable[[], None]) -> float:
        sync()
        began = clock()
        what()
        sync()
        return clock() - began

    ways: dict[str, Callable[[], None]] = {"plain": loops.plain, "engine": loops.engine}
    kernels = {}
    for name, way in ways.items():
        way()
        if not asked.compile:
            with as_on_a_gpu() if on_cpu else nullcontext(), Kernels() as counted:
                way()
            kernels[name] = sum(counted.of.values()) / asked.steps
    times: dict[str, list[float]] = {name: [] for name in ways}
    used: list[float] = []
    shuffled = random.Random(0)
    for _ in range(asked.repeats):
        # What ran before leaves the cache as it is: nothing always comes after the same.
        for name in shuffled.sample(list(ways), len(ways)):
            times[name].append(timed(ways[name]))
        if not on_cpu:
            used.append(busy())
    median = {name: statistics.median(found) for name, found in times.items()}

    pairs = zip(times["plain"], times["engine"], strict=True)
    print(f"{asked.device}, {loops.parameters} parameters, batch {asked.batch}")
    for name, seconds in median.items():
        each = f"{seconds / asked.steps * 1e3:.3f} ms a step, {loops.seen / seconds:.0f} samples/s"
        print(f"  {name}: {each}, {kernels.get(name, 0):.1f} kernels")
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"  engine / plain, samples a second: {ratio:.3f}")
    met = ratio >= RATIO
    flops = 6.0 * loops.parameters * loops.seen
    print(f"  {flops / median['engine'] / 1e9:.1f} GFLOP/s (6 a parameter and sample)")
    if on_cpu:
        met &= show_accounts(loops, asked.repeats) <= OWN
    else:
        print(f"  GPU busy (nvidia-smi): {statistics.median(used):.0f} %")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()

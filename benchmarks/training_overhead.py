"""What the engine costs beside forward and backward passes, and beside a plain PyTorch loop.

    python benchmarks/training_overhead.py [--device cpu|cuda] [--features 150] [--people 900]
                                           [--batch 64] [--steps 100] [--repeats 41] [--width 1]

``training_loops.py`` says what is compared. In one process, in an order drawn anew each time: the
engine, the plain loop, and forward and backward passes alone and with the optimizer's steps, which
every training has; last with rows and draws that were made before, which no training has.

Medians over the repeats of ratios within each, and how many kernels a step starts, which a GPU is
bound by while networks are small; on a CPU it is counted with draws and gathering as on a GPU. On
a GPU the utilisation is that of ``nvidia-smi`` meanwhile.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from training_loops import Kernels, Loops, as_on_a_gpu


def busy() -> float:
    """Utilisation of the GPU in per cent."""
    smi = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    return float(subprocess.run(smi, capture_output=True, text=True).stdout.split()[0])


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

    ways: dict[str, Callable[[], None]] = {
        "plain": loops.plain,
        "engine": loops.engine,
        "passes": loops.passes,
        "passes and steps": lambda: loops.passes(moves=True),
        "at hand": lambda: loops.passes(moves=True, at_hand=True),
    }
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

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))

    print(f"{asked.device}, {loops.parameters} parameters, batch {asked.batch}")
    for name, seconds in median.items():
        each = f"{seconds / asked.steps * 1e3:.3f} ms a step, {loops.seen / seconds:.0f} samples/s"
        print(f"  {name}: {each}, {kernels.get(name, 0):.1f} kernels")
    print(f"  engine / plain, samples a second: {ratio('plain', 'engine'):.3f}")
    outside = 1 - ratio("passes and steps", "engine")
    print(f"  outside of forward, backward and optimizer: {outside:.3f}")
    bare = [1 - ratio("at hand", way) for way in ("engine", "plain")]
    print(f"  the same with rows and draws: {bare[0]:.3f}, the plain loop's {bare[1]:.3f}")
    print(f"  outside of forward and backward: {1 - ratio('passes', 'engine'):.3f}")
    print(f"  the plain loop's: {1 - ratio('passes', 'plain'):.3f}")
    flops = 6.0 * loops.parameters * loops.seen
    print(f"  {flops / median['engine'] / 1e9:.1f} GFLOP/s (6 a parameter and sample)")
    if used:
        print(f"  GPU busy (nvidia-smi): {statistics.median(used):.0f} %")


if __name__ == "__main__":
    main()

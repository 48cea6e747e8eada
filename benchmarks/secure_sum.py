"""Processor time and bytes of a secure sum at a site, and at the coordinator.

    python benchmarks/secure_sum.py [--values 1000000]

One process; processor time, medians of five. ``ratio``: bytes sent over the plain 8 a value.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from motet.secure.circle import Circle
from motet.secure.keys import SumKey
from motet.secure.party import Party
from motet.secure.total import total

ASKED = 0.2
"""Seconds of a processor a site, at a million values."""


def seconds(work: Callable[[], object]) -> float:
    """Processor time, the median of five."""
    found = []
    for _ in range(5):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return median(found)


def measured(n: int, count: int) -> tuple[float, float, float, float]:
    """Masking, revealing, the coordinator's part, and the ratio of bytes, of n sites."""
    keys = {f"s{i:02d}": SumKey.new() for i in range(n)}
    circle = Circle({"run": "bench"}, {name: key.public for name, key in keys.items()})
    parties = {name: Party(name, key, circle) for name, key in keys.items()}
    values = {
        name: np.random.default_rng(i).integers(0, 2**63, count, dtype=np.uint64)
        for i, name in enumerate(keys)
    }
    masked = {name: p.mask([values[name].copy()]) for name, p in parties.items()}
    received = {to: {name: (m.salt, m.sealed[to]) for name, m in masked.items()} for to in parties}
    said = {name: p.reveal(list(parties), received[name]) for name, p in parties.items()}
    found = total(circle, masked, said)[0]
    if not np.array_equal(found, sum(values.values(), np.zeros(1, dtype=np.uint64))):
        sys.exit("the sum is wrong")
    first, one = parties["s00"], masked["s00"]
    sent = one.arrays[0].nbytes + len(one.salt)
    sent += sum(map(len, one.sealed.values())) + sum(map(len, one.committed.values()))
    return (
        seconds(lambda: first.mask([values["s00"].copy()])),
        seconds(lambda: first.reveal(list(parties), received["s00"])),
        seconds(lambda: total(circle, masked, said)),
        sent / 8 / count,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=1_000_000)
    asked = parser.parse_args()
    slow = False
    print("sites  mask s  reveal s  coordinator s  ratio")
    for n in (3, 5, 10):
        mask, reveal, joined, ratio = measured(n, asked.values)
        print(f"{n:5}  {mask:.3f}   {reveal:.4f}    {joined:.3f}          {ratio:.5f}")
        slow |= mask + reveal > ASKED * asked.values / 1e6 or ratio > 1.1
    if slow:
        sys.exit(f"more than the {ASKED} s or 1.1 times the bytes that were asked")


if __name__ == "__main__":
    main()

"""Seconds a 2 mm head takes: to open with all checks, for each method's own work, to write.

    python benchmarks/image_speed.py [--resolution 2] [--heads 6]

Heads of ``motet phantom``; one thread; medians over heads. What a method does is timed around its
``apply``, which reads the image, and a writer that measures and compresses it is timed by itself.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

from motet.agreement import agree
from motet.client.alone import fitted_alone
from motet.client.apply import harmonized
from motet.client.opening import open_site
from motet.config import parse_study
from motet.images.derivatives import derivative_writer
from motet.images.images import compared_in
from motet.params import parse_params
from motet.plan import build_plan

METHODS = {
    "white_stripe": {},
    "z_score": {},
    "nyul": {},
    "mica": {},
    "histogram_matching": {},
    "blur": {},
    "global_scaling": {"registered": True},
    "functional_normalization": {"registered": True, "coverage": 0.6, "control_share": 0.5},
    "ravel": {"registered": True, "coverage": 0.6, "control_share": 0.5},
    "voxelwise_combat": {"registered": True, "coverage": 0.6},
}
ASKED = 1.0
"""Seconds a head and core."""


def seconds(method: str, options: dict, folder: Path) -> dict[str, float]:
    """Opening, the method itself and writing, a head."""
    study = parse_study({"study": "speed", "method": method, "params": options})
    params = parse_params(study)
    began = time.perf_counter()
    images = open_site(folder, site="ash", params=params)
    opened = (time.perf_counter() - began) / len(images)
    schema = agree([images.described])
    plan = build_plan(study, schema)
    asked = {"method": plan.harmonizer, "params": plan.params}
    own, shared, model = fitted_alone(images, schema=schema, **asked)
    took, wrote = [], []
    with (
        tempfile.TemporaryDirectory() as out,
        derivative_writer(
            Path(out) / "o", compared_in(images, shared), description={"method": method}
        ) as writer,
    ):
        blocks = harmonized(images, schema=own, shared=shared, model=model, **asked)
        while True:
            began = time.perf_counter()
            found = next(blocks, None)
            if found is None:
                break
            block = np.array(found[1])
            took.append(time.perf_counter() - began)
            began = time.perf_counter()
            writer.write(found[0], block)
            wrote.append(time.perf_counter() - began)
    return {"open": opened, "method": median(took), "write": median(wrote)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, default=2)
    parser.add_argument("--heads", type=int, default=6)
    asked = parser.parse_args()
    slow = []
    with tempfile.TemporaryDirectory() as scratch, threadpool_limits(1):
        words = ["phantom", "--sites", "2", "--people", str(asked.heads), "--travelers", "0"]
        words += ["--resolution", str(asked.resolution), "--out", f"{scratch}/p"]
        subprocess.run(
            [sys.executable, "-m", "motet", *words], check=True, stdout=subprocess.DEVNULL
        )
        print(f"{'method':26} open   method write  all (s a head; asked: below {ASKED:g})")
        for method, options in METHODS.items():
            found = seconds(method, options, Path(scratch) / "p" / "ash")
            whole = sum(found.values())
            slow += [method] * (whole > ASKED)
            print(f"{method:26}", *(f"{v:.3f} " for v in found.values()), f"{whole:.3f}")
    if slow:
        sys.exit(f"slower than asked: {', '.join(slow)}")


if __name__ == "__main__":
    main()

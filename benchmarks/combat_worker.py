"""One measurement of combat_speed.py, in a process of its own.

Makes the seeded data in the layout that the package wants, then times one call and samples the
anonymous memory of the process meanwhile. Needs only numpy, pandas and the measured package, since
it also runs in neuroHarmonize's environment.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BLOCK = 1000  # features made at a time
CHUNK_BYTES = 8_000_000  # what the floor reads at a time
SAMPLED_FEATURES = 12
SAMPLING_SECONDS = 0.01
MODULES = {
    "Motet": "motet",
    "neuroCombat": "neuroCombat",
    "neuroHarmonize": "neuroHarmonize",
    "floor": "numpy",
}


@dataclass(frozen=True)
class Cohort:
    """People and their data; `values` is people x features, or its transpose for neuroCombat."""

    site: np.ndarray
    age: np.ndarray
    sex: np.ndarray
    values: np.ndarray


def site_sizes(people: int, sites: int) -> np.ndarray:
    """Uneven sizes: the largest site has about four times the people of the smallest."""
    weights = np.linspace(0.4, 1.6, sites)
    sizes: np.ndarray = np.floor(people * weights / weights.sum()).astype(int)
    sizes[-1] += people - sizes.sum()
    return sizes


def make_cohort(job: dict[str, Any], features_first: bool) -> Cohort:
    """The same numbers for every package, in memory, in the layout asked for."""
    people, features, sites, seed = (job[k] for k in ("people", "features", "sites", "seed"))
    rng = np.random.default_rng(seed)
    site = np.repeat(np.arange(sites), site_sizes(people, sites))
    if job["interleaved"]:
        site = rng.permutation(site)
    age = rng.uniform(18, 90, people).astype(np.float32).astype(np.float64)
    male = rng.integers(0, 2, people)
    values = np.empty((features, people) if features_first else (people, features))
    for start in range(0, features, BLOCK):
        stop = min(start + BLOCK, features)
        block = _block(np.random.default_rng([seed, start]), site, age, male, stop - start)
        if features_first:
            values[start:stop] = block.T
        else:
            values[:, start:stop] = block
    labels = np.array([f"site-{i:02d}" for i in range(sites)])
    return Cohort(labels[site], age, np.where(male == 1, "M", "F"), values)


def _block(rng: np.random.Generator, site: Any, age: Any, male: Any, width: int) -> np.ndarray:
    """Site, age and sex effects plus noise; no functions that round differently across numpys."""
    sites = int(site.max()) + 1
    scale = rng.uniform(0.5, 2.0, width)
    shift = rng.normal(rng.normal(0, 0.3, (sites, 1)), 0.3, (sites, width)) * scale
    spread = rng.uniform(0.7, 1.4, (sites, width)) * scale
    block = rng.standard_normal((len(site), width))
    block *= spread[site]
    block += shift[site]
    block += np.outer(age - 50, rng.normal(0, 0.02, width))
    block += np.outer(male, rng.normal(0, 0.3, width))
    return block + rng.normal(10, 3, width)


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"RssAnon:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("This system tells no RssAnon.")


class Peak:
    """Samples the anonymous memory in a thread; `increment` is the peak less the start."""

    def __enter__(self) -> Peak:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # memory that making the data freed is not to be reused
        self._done = threading.Event()
        self._start = self._peak = anonymous_bytes()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._done.wait(SAMPLING_SECONDS):
            self._peak = max(self._peak, anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._peak = max(self._peak, anonymous_bytes())

    @property
    def increment(self) -> int:
        """Bytes beyond what the process had at the start."""
        return self._peak - self._start


def motet_call(module: Any, cohort: Cohort, out: np.ndarray) -> Callable[[], np.ndarray]:
    covariates = pd.DataFrame({"age": cohort.age, "sex": cohort.sex})

    def call() -> np.ndarray:
        module.harmonize(
            cohort.values, batch=cohort.site, covariates=covariates, method="combat", out=out
        )
        return out

    return call


def neurocombat_call(module: Any, cohort: Cohort, out: None) -> Callable[[], np.ndarray]:
    covars = pd.DataFrame({"site": cohort.site, "age": cohort.age, "sex": cohort.sex})

    def call() -> np.ndarray:
        result = module.neuroCombat(
            dat=cohort.values,
            covars=covars,
            batch_col="site",
            categorical_cols=["sex"],
            continuous_cols=["age"],
        )
        harmonized: np.ndarray = result["data"].T
        return harmonized

    return call


def neuroharmonize_call(module: Any, cohort: Cohort, out: None) -> Callable[[], np.ndarray]:
    male = (cohort.sex == "M").astype(float)
    covars = pd.DataFrame({"SITE": cohort.site, "age": cohort.age, "sex": male})
    return lambda: module.harmonizationLearn(cohort.values, covars)[1]


def floor_times(values: np.ndarray, out: np.ndarray) -> dict[str, float]:
    """Seconds to read the data once, and to copy it once to the memory-mapped file."""
    rows = max(1, CHUNK_BYTES // (values.shape[1] * 8))
    chunks = [slice(i, i + rows) for i in range(0, len(values), rows)]
    start = time.perf_counter()
    for chunk in chunks:
        values[chunk].sum()
    read = time.perf_counter()
    for chunk in chunks:
        out[chunk] = values[chunk]
    return {"read_s": read - start, "copy_s": time.perf_counter() - read}


CALLS: dict[str, Callable[[Any, Cohort, Any], Callable[[], np.ndarray]]] = {
    "Motet": motet_call,
    "neuroCombat": neurocombat_call,
    "neuroHarmonize": neuroharmonize_call,
}


def blas() -> str:
    """The BLAS that numpy uses: its version, the kernel it chose, its threads."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "unknown"
    used = [x for x in threadpool_info() if x["user_api"] == "blas" and "numpy" in x["filepath"]]
    return "; ".join(
        f"{x['internal_api']} {x['version']}, {x.get('architecture', 'unknown')} kernel, "
        f"{x['num_threads']} threads"
        for x in used
    )


def versions(package: str) -> dict[str, str]:
    """The versions of the package, Python, numpy and its BLAS in this environment."""
    found = {"python": sys.version.split()[0], "numpy": np.__version__, "blas": blas()}
    try:
        return {package: metadata.version(MODULES[package]), **found}
    except metadata.PackageNotFoundError:
        return {package: "not installed (run from its sources)", **found}


def warm_up(job: dict[str, Any], module: Any) -> None:
    """Run the package once on ten features: what it imports on first use is not what is timed."""
    small = {**job, "features": 10}
    cohort = make_cohort(small, features_first=job["package"] == "neuroCombat")
    out = np.empty_like(cohort.values)
    with redirect_stdout(sys.stderr):
        CALLS[job["package"]](module, cohort, out)()


def measure(job: dict[str, Any], module: Any, file: Path) -> dict[str, Any]:
    """Make the data, run the call once, keep a few features for the comparison."""
    package = job["package"]
    cohort = make_cohort(job, features_first=package == "neuroCombat")
    out: Any = None
    if package in ("Motet", "floor"):
        shape = (job["people"], job["features"])
        out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float64, shape=shape)
    if package == "floor":
        return floor_times(cohort.values, out)
    call = CALLS[package](module, cohort, out)
    warm_up(job, module)
    with redirect_stdout(sys.stderr), Peak() as peak:
        start = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - start
    picked = np.linspace(0, job["features"] - 1, SAMPLED_FEATURES).astype(int)
    values = cohort.values[picked].T if package == "neuroCombat" else cohort.values[:, picked]
    np.savez(job["samples"], input=values, output=result[:, picked])
    return {"seconds": seconds, "anonymous_bytes": peak.increment}


def main() -> None:
    job = json.loads(sys.argv[1])
    file = Path(job["scratch"]) / "output.npy"
    try:
        module = importlib.import_module(MODULES[job["package"]])
    except ImportError as error:
        report: dict[str, Any] = {"unavailable": f"{type(error).__name__}: {error}"}
    else:
        try:
            report = {**measure(job, module, file), "versions": versions(job["package"])}
        finally:
            file.unlink(missing_ok=True)
    Path(job["report"]).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # no time spent on freeing the data

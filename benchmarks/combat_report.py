"""What combat_speed.py reports: whether the packages agree, and the Markdown table."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

MEMORY_STEP = 1_000_000  # increments below 1 MB count as 1 MB in ratios


def agreement(packages: list[str], scratch: Path) -> dict[str, float]:
    """Largest difference of each two packages on sampled features, in sd of the feature."""
    samples = {package: np.load(scratch / f"{package}.npz") for package in packages}
    largest: dict[str, float] = {}
    for i, one in enumerate(packages):
        for other in packages[i + 1 :]:
            a, b = samples[one], samples[other]
            if not np.array_equal(a["input"], b["input"]):
                raise RuntimeError(f"{one} and {other} were given different data.")
            difference = np.abs(a["output"] - b["output"]) / a["input"].std(axis=0)
            largest[f"{one} - {other}"] = float(difference.max())
    return largest


def machine() -> dict[str, Any]:
    """What the figures depend on, without names of hosts."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpu": _cpu(), "cores": os.cpu_count(), "memory_gib": round(pages / 2**30)}


def _cpu() -> str:
    with open("/proc/cpuinfo") as info:
        fields = dict(line.split(":", 1) for line in info if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    family = ", ".join(f"{k} {named[k]}" for k in ("cpu family", "model") if k in named)
    return f"{named.get('model name', platform.machine())} ({family})"


def markdown(results: dict[str, Any]) -> str:
    """The whole report."""
    about = results["machine"]
    lines = [
        "# ComBat: fit + apply of all sites",
        "",
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB; "
        f"repeats: {results['repeats']}, each in a fresh process.",
        "",
        *_versions(results),
    ]
    for size in results["sizes"]:
        lines += ["", *_size(size)]
    lines += ["", *_notes()]
    return "\n".join(lines) + "\n"


REQUIRED = {"neuroHarmonize": 3.0, "neuroCombat": 5.0}
"""How many times Motet's median seconds each peer takes at least."""

REQUIRED_MEMORY = 3.0
"""How many times Motet's anonymous increment the smaller of the peers' is at least."""


def missed(results: dict[str, Any]) -> list[str]:
    """Sentences for the required ratios that these results do not reach."""
    found = []
    for size in results["sizes"]:
        packages = size["packages"]
        if any("seconds" not in packages.get(name, {}) for name in ("Motet", *REQUIRED)):
            found.append(f"{size['features']} features: not everything was measured")
            continue
        own = median(packages["Motet"]["seconds"])
        for name, ratio in REQUIRED.items():
            times = median(packages[name]["seconds"]) / own
            if times < ratio:
                found.append(f"{size['features']} features: {name} {times:.1f} x, not {ratio:g} x")
        smaller = min(max(packages[name]["anonymous_bytes"]) for name in REQUIRED)
        times = smaller / max(packages["Motet"]["anonymous_bytes"])
        if times < REQUIRED_MEMORY:
            found.append(f"{size['features']} features: memory {times:.1f} x")
    return found


def _versions(results: dict[str, Any]) -> list[str]:
    lines = []
    for package, report in results["sizes"][0]["packages"].items():
        if "versions" in report:
            found = report["versions"]
            lines.append(
                f"- {package} {found[package]}: Python {found['python']}, "
                f"numpy {found['numpy']}, {found['blas']}"
            )
    return lines


def _size(size: dict[str, Any]) -> list[str]:
    order = "rows interleaved" if size["interleaved"] else "rows of a site together"
    megabytes = size["features"] * size["people"] * 8 / 1e6
    read, copy = median(size["floor"]["read_s"]), median(size["floor"]["copy_s"])
    motet = size["packages"]["Motet"]
    rows = [_row(name, report, motet, copy) for name, report in size["packages"].items()]
    return [
        f"## {size['features']:,} features x {size['people']:,} people, {size['sites']} sites",
        "",
        f"Input {megabytes:,.0f} MB, {order}.",
        "",
        "| | seconds, median | min | ÷ Motet's | x floor | anonymous MB | ÷ Motet's |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *rows,
        f"| floor: read once | {read:.3f} | {min(size['floor']['read_s']):.3f} | | | | |",
        f"| floor: read + write once | {copy:.3f} | {min(size['floor']['copy_s']):.3f} | "
        "| 1.0 | | |",
        "",
        *_agreement(size["agreement"]),
    ]


def _row(name: str, report: dict[str, Any], motet: dict[str, Any], copy: float) -> str:
    if "unavailable" in report:
        return f"| {name} | not available | | | | | |"
    if "failed" in report:
        return f"| {name} | failed | | | | | |"
    seconds, memory = median(report["seconds"]), max(report["anonymous_bytes"])
    times = sizes = "–"
    if "seconds" in motet:
        times = f"{seconds / median(motet['seconds']):.1f}"
        least = max(max(motet["anonymous_bytes"]), MEMORY_STEP)
        sizes = f"{max(memory, MEMORY_STEP) / least:.1f}"
    return (
        f"| {name} | {seconds:.2f} | {min(report['seconds']):.2f} | {times} "
        f"| {seconds / copy:.1f} | {memory / 1e6:,.0f} | {sizes} |"
    )


def _agreement(largest: dict[str, float]) -> list[str]:
    if not largest:
        return ["Nothing to compare: fewer than two packages ran."]
    pairs = ", ".join(f"{pair}: {value:.1e}" for pair, value in largest.items())
    return [f"Largest difference on sampled features, in sd of the feature: {pairs}."]


def _notes() -> list[str]:
    return [
        "Seconds: one call that fits and harmonizes all sites, data already in memory.",
        "Anonymous MB: peak of the process's anonymous memory during the call less that before it,",
        "the largest of the repeats; the input does not count, an output array does, a",
        "memory-mapped output (Motet's) does not. ÷ Motet's: the package's figure (median seconds,",
        "anonymous MB) over Motet's. x floor: median seconds over those of a plain copy of the",
        "input to a memory-mapped file. Environment variables that pin an old OpenBLAS kernel are",
        "removed for all packages alike.",
    ]

"""A site probe below chance, which looks like a success and is none."""

from __future__ import annotations

from collections.abc import Sequence

from motet.errors import listed
from motet.evaluation.result import VERSIONS, Metric


def below(metrics: Sequence[Metric]) -> list[str]:
    """Say which versions that a fit made a site probe does worse than chance on."""
    read = [
        (version, reading)
        for metric in metrics
        if metric.name.startswith("site_accuracy")
        for version, reading in metric.readings.items()
        if version not in ("raw", "demographics")
    ]
    found = {
        version
        for version, reading in read
        if reading.value is not None and reading.band and reading.value < reading.band[0]
    }
    if not found:
        return []
    return [
        f"A site probe does worse than chance on: {listed(v for v in VERSIONS if v in found)}. "
        "That is no success: it was trained on people of the fit, whose batches the fit made "
        "equal, and what is left of them there points the other way in the people who are read."
    ]

"""Made-up pairs of slices of five scanners, without images behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage

from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.training import train_phase
from motet.training.phase import Train
from motet.training.samples import Drawn, Samples
from training import toy
from training.toy import PlainSite

PIXELS, EACH = 32, 3
PEOPLE = np.repeat(np.arange(5), (1, 4, 2, 3, 5))
"""Scanner of every person: unequal."""
COUNT = len(PEOPLE) * EACH
SHARED = {"slices": np.asarray(COUNT), "cumulated": np.arange(1, 11) / 10.0}
SIZES = {"batches": 5}


def slices() -> tuple[np.ndarray, np.ndarray]:
    """Pairs (people, EACH, 2, h, w) and brains (people, EACH, h, w)."""
    rng = np.random.default_rng(0)
    field = rng.standard_normal((len(PEOPLE), EACH, PIXELS, PIXELS))
    field = ndimage.gaussian_filter(field, (0, 0, 2, 2))
    y, x = np.mgrid[-1 : 1 : PIXELS * 1j, -1 : 1 : PIXELS * 1j]
    brain = (x**2 + y**2 < 0.8) & np.ones((len(PEOPLE), EACH, 1, 1), dtype=bool)
    first, second = 0.25 + field, 0.25 - 0.6 * field
    return np.stack([first, second], axis=2) * brain[:, :, None], brain.astype(np.uint8)


X, BRAIN = slices()


def of_people(rows: np.ndarray, *, contrasts: int = 2) -> Samples:
    """Samples of some people."""
    x = X[rows, :, :contrasts].reshape(-1, contrasts, PIXELS, PIXELS)
    first = np.repeat(np.arange(len(rows)) * EACH, EACH)
    batch = np.repeat(PEOPLE[rows], EACH)
    return Samples(
        arrays={"x": x, "brain": BRAIN[rows].reshape(-1, PIXELS, PIXELS), "label": batch},
        drawn={"other": Drawn(array=x, first=first, count=np.full(len(first), EACH))},
        constants={"cumulated": SHARED["cumulated"]},
        people=np.repeat([f"sub-{i:02d}" for i in rows], EACH),
        parts=np.tile(np.arange(EACH), len(rows)),
        batch=batch.astype(np.intp),
    )


def phase(*, contrasts: int = 2, **given: Any) -> Train:
    """The training of the tiny networks on them."""
    asked = {"mode": "exact", "batch": 8, "steps": 20, **given.pop("train", {})}
    params = CalamitiParams.model_validate({"train": {"preset": "tiny", **asked}, **given})

    def samples(site: Any, shared: Any) -> Samples:
        return of_people(site.data, contrasts=contrasts)

    return replace(train_phase(params), samples=samples)


def sites_of(where: Sequence[int]) -> dict[str, PlainSite]:
    """Sites, for the site of every one of the five scanners."""
    return toy.sites_of(where, PEOPLE)

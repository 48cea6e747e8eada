"""Made-up slices of five scanners, each with two neighbours, without images behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from motet.harmonizers.murd.params import MurdParams
from motet.harmonizers.murd.training import train_phase
from motet.schema import Batch, Schema
from motet.training.phase import Train
from motet.training.samples import Drawn, Samples
from training import slabs, toy
from training.slabs import BRAIN, PEOPLE, PIXELS, X
from training.toy import PlainSite

COUNT = len(PEOPLE)
SHARED = {"slices": np.asarray(COUNT)}
SIZES = {"batches": 5}
ORDER = np.array([3, 0, 4, 1, 2])
"""Batches by name: not the order of the schema."""
SCHEMA = Schema(
    features=(),
    units=(),
    covariates=(),
    batches=tuple(
        Batch(f"s{k}", name) for k, name in enumerate(np.array(list("abcde"))[np.argsort(ORDER)])
    ),
)


def of_people(rows: np.ndarray) -> Samples:
    """Samples of some people: the middle one of the slices that `slabs` has of each."""
    x = X[rows, :, :1].reshape(-1, 1, PIXELS, PIXELS) * 2.0
    brain = BRAIN[rows].reshape(-1, PIXELS, PIXELS)
    middle = np.arange(len(rows)) * slabs.EACH + 1
    one = np.ones(len(rows), dtype=np.intp)
    drawn = {
        f"{kind}{said}": Drawn(array=array, first=middle + by, count=one)
        for kind, array in (("x", x), ("b", brain))
        for by, said in ((-1, "-1"), (0, "0"), (1, "+1"))
    }
    return Samples(
        arrays={"label": PEOPLE[rows].astype(np.int64)},
        drawn=drawn,
        constants={"order": ORDER},
        people=np.array([f"sub-{i:02d}" for i in rows]),
        batch=PEOPLE[rows].astype(np.intp),
    )


def params(preset: str = "tiny", **given: Any) -> MurdParams:
    asked = {"mode": "exact", "batch": 8, "steps": 20, **given.pop("train", {})}
    asked |= {"precision": "float64", "transfer": "float64"}
    given = {"pixels": PIXELS, **given}
    return MurdParams.model_validate({"train": {"preset": preset, **asked}, **given})


def phase(preset: str = "tiny", **given: Any) -> Train:
    """The training of a preset's networks on them."""

    def samples(site: Any, shared: Any) -> Samples:
        return of_people(site.data)

    return replace(train_phase(params(preset, **given), SCHEMA), samples=samples)


def sites_of(where: Sequence[int]) -> dict[str, PlainSite]:
    """Sites, for the site of every one of the five scanners."""
    return toy.sites_of(where, PEOPLE)

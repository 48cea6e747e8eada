"""A made-up method with every kind of step: Local, Sum, Publish, nested Repeat, `when`, `until`.

It finds the mean of every feature by slow steps, so that the number of turns can be told from the
result. With ``momentum`` a site's release depends on what its Local phases kept in earlier turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from motet.harmonizer import Card, Params, SiteModel
from motet.phases import Local, Publish, Repeat, Step, Sum
from motet.registry import Registry
from motet.releases import ArraySpec, Size

PULL = (
    ArraySpec(name="pull", shape=("p",), meaning="sum of distances to the centre"),
    ArraySpec(name="people", shape=(), dtype="int64", least=0, meaning="number of people"),
)
LARGEST = (ArraySpec(name="largest", shape=("p",), meaning="the site's largest values"),)
LEFT = (ArraySpec(name="far", shape=("left",), meaning="distances of the features left"),)


class ToyParams(Params):
    """How often, how far, with what memory."""

    models_covariates: ClassVar[bool] = True

    turns: int = 8
    inner: int = 2
    tolerance: float = 0.0
    momentum: float = 0.0
    left: int = 0


def centred(site: Any, shared: Any) -> np.ndarray:
    centre = shared.get("centre", np.zeros(len(site.schema.features)))
    return site.data.block(slice(None)) - centre


def start(site: Any, shared: Any) -> None:
    """A study begins with nothing kept; a method may rely on that."""


def count_turn(site: Any, shared: Any) -> None:
    site.keep["turns"] = np.asarray(site.keep.get("turns", 0) + 1)
    site.keep["seen"] = site.keep.get("seen", 0.0) + shared["centre"]


def converged(shared: Any) -> bool:
    return bool(np.abs(shared["step"]).max() <= shared["tolerance"])


def publish_all(published: Any, shared: Any) -> Any:
    return {"ranges": np.array([published[name] for name in sorted(published)])}


@dataclass(frozen=True)
class Toy:
    """The functions of the plan."""

    params: ToyParams

    def pull(self, site: Any, shared: Any) -> Any:
        total = centred(site, shared).sum(axis=0)
        if self.params.momentum:
            total = total + self.params.momentum * site.keep.get("seen", 0.0)
        return {"pull": total, "people": np.asarray(len(site.data), dtype=np.int64)}

    def move(self, sums: Any, shared: Any) -> Any:
        step = 0.25 * sums["pull"] / sums["people"]
        return {
            "step": step,
            "centre": shared.get("centre", 0.0) + step,
            "tolerance": np.asarray(self.params.tolerance),
            "left": np.arange(self.params.left),
        }

    def far(self, site: Any, shared: Any) -> Any:
        return {"far": centred(site, shared).sum(axis=0)[shared["left"]]}

    def gather(self, sums: Any, shared: Any) -> Any:
        return {"far": sums["far"]}

    def bounds(self, size: Any, shared: Any) -> Any:
        memory = self.params.momentum * self.params.turns * 2.0 * size.features
        return {"pull": size.rows * (size.features + np.abs(shared.get("centre", 0.0))) + memory}

    def bounds_of_far(self, size: Any, shared: Any) -> Any:
        centred = size.features + np.abs(shared["centre"])
        return {"far": size.rows * centred[shared["left"]]}

    def largest(self, site: Any, shared: Any) -> Any:
        return {"largest": site.data.block(slice(None)).max(axis=0)}


class ToyMethod:
    """Subtracts the pooled centre."""

    name: ClassVar[str] = "toy"
    params_type: ClassVar[type[Params]] = ToyParams
    card: ClassVar[Card] = Card(
        title="Toy", summary="Centres features.", data="table", papers=(), leaves="sums"
    )

    def plan(self, params: Any, schema: Any) -> Sequence[Step]:
        toy = Toy(params)
        pull = Sum(
            name="pull",
            arrays=PULL,
            at_site=toy.pull,
            at_coordinator=toy.move,
            bounds=toy.bounds,
            sets=(Size(name="left", at_most="p"),),
        )
        inner = Repeat(name="inner", steps=(pull,), at_most=params.inner)
        count = Local(name="count", at_site=count_turn)
        return (
            Local(name="start", at_site=start),
            Repeat(name="outer", steps=(inner, count), at_most=params.turns, until=converged),
            Sum(
                name="far",
                when="left",
                arrays=LEFT,
                at_site=toy.far,
                at_coordinator=toy.gather,
                bounds=toy.bounds_of_far,
            ),
            Publish(
                name="largest", arrays=LARGEST, at_site=toy.largest, at_coordinator=publish_all
            ),
        )

    def join(self, params: Any, schema: Any) -> Sequence[Step]:
        return ()

    def site_model(self, params: Any, site: Any, shared: Any) -> SiteModel:
        kept = {name: np.asarray(site.keep.get(name, 0)) for name in ("turns", "seen")}
        return SiteModel(site=site.name, batches=site.batches, arrays=kept)

    def apply(self, params: Any, data: Any, model: Any, shared: Any, schema: Any) -> Iterator[Any]:
        yield slice(0, len(data)), data.block(slice(None)) - shared["centre"]


def register_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the toy the only method, for one test."""
    registry = Registry()
    registry.register(ToyMethod())
    monkeypatch.setattr("motet.registry.methods", lambda: registry)

"""What a judgement says, in one form whoever made it: sums of a federation, or a simulation.

``metrics.json`` holds the numbers, ``evaluation.npz`` the arrays of one entry a feature; the
report reads both and computes nothing of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from motet.errors import ModelError
from motet.releases import Arrays

Version = Literal["raw", "local_only", "pooled", "combat", "harmonized", "demographics"]
VERSIONS: tuple[Version, ...] = (
    *("raw", "local_only", "pooled", "combat", "harmonized", "demographics"),
)
"""What is judged. ``local_only``: every site harmonizes its own batches alone, the floor;
``pooled``: the same method with all people in one place, the ceiling; ``combat``: ComBat of the
same batches and covariates, for methods that say so; ``demographics``: a probe that sees age, sex
and the like alone, no measure of anybody."""

Aim = Literal["site_effect", "biology", "truth"]
Better = Literal["chance", "lower", "higher", "raw"]
"""Where a good harmonization lies: at chance (neither above nor below), low, high, as raw."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One number, with what is needed to believe it.

    Attributes
    ----------
    value : float or None
        None where there are too few people to say.
    interval : (float, float) or None
        95 % interval of the value.
    band : (float, float) or None
        Where 95 % of the values lie when there is nothing to find: by permutation or binomial.
    n : int
        People behind it.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    band: tuple[float, float] | None = None
    n: int = 0

    def __post_init__(self) -> None:
        for numbers in ((self.value,), self.interval or (), self.band or ()):
            if any(number is not None and not math.isfinite(number) for number in numbers):
                raise ValueError("a reading is a finite number or None")

    @property
    def within_band(self) -> bool | None:
        """Whether the value is what chance gives; None where that is not known."""
        if self.value is None or self.band is None:
            return None
        return self.band[0] <= self.value <= self.band[1]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric, read for every version of the data.

    Attributes
    ----------
    name : str
        Stable, for programs: ``site_accuracy_random_forest``.
    title : str
        For people: ``Site balanced accuracy, random forest``.
    aim : str
        Whether it tells of the site effect, of biology, or of the distance to a known truth.
    better : str
        Where a good harmonization lies.
    chance : float or None
        The value when there is nothing to find.
    band_from : {"permutation", "binomial", ""}
    readings : dict of Version to Reading
    """

    name: str
    title: str
    aim: Aim
    better: Better
    chance: float | None = None
    band_from: Literal["permutation", "binomial", ""] = ""
    readings: Mapping[str, Reading] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How a study did.

    Attributes
    ----------
    source : {"sums", "simulation"}
        ``sums``: from declared releases alone, so a deployed study has it too.
    people : str
        Who was judged: ``held out`` or ``all (fitted on them)``.
    n : int
        How many rows.
    features : int
        Features judged: those that vary.
    metrics : tuple of Metric
    arrays : dict of str to (p,) float64
        One entry a feature of the study, NaN where not judged: ``<version>/eta2`` (partial eta
        squared of the batches), ``<version>/anova_p``, ``<version>/levene_p``, and
        ``<version>/effect/<column>``: the standardized effect of a design column (Cohen's d of a
        category, sd a sd of a number).
    notes : tuple of str
        What could not be judged, and why.
    """

    source: Literal["sums", "simulation"]
    people: str
    n: int
    features: int
    metrics: tuple[Metric, ...]
    arrays: Arrays = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def held_out(self) -> bool:
        """Whether the people judged are those whom the fit did not see."""
        return self.people == "held out"

    def metric(self, name: str) -> Metric:
        """The metric of that name; KeyError where it was not computed."""
        return {metric.name: metric for metric in self.metrics}[name]

    def has(self, name: str) -> bool:
        """Whether the metric was computed."""
        return any(metric.name == name for metric in self.metrics)

    def to_json(self) -> dict[str, Any]:
        """Everything but the arrays, as plain data."""
        document = asdict(self)
        del document["arrays"]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any], arrays: Arrays | None = None) -> Judgement:
        """Read what :meth:`to_json` wrote."""
        try:
            metrics = tuple(_metric(metric) for metric in document["metrics"])
            plain = {k: v for k, v in document.items() if k not in ("metrics", "notes")}
            notes = tuple(map(str, document.get("notes", ())))
            return cls(**plain, metrics=metrics, notes=notes, arrays=dict(arrays or {}))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"A judgement cannot be read: {error!r}.") from error


def _metric(document: Mapping[str, Any]) -> Metric:
    readings = {
        version: Reading(
            value=reading["value"],
            interval=_pair(reading.get("interval")),
            band=_pair(reading.get("band")),
            n=int(reading.get("n", 0)),
        )
        for version, reading in document["readings"].items()
    }
    return Metric(**{**document, "readings": readings})


def _pair(numbers: Any) -> tuple[float, float] | None:
    return None if numbers is None else (float(numbers[0]), float(numbers[1]))

"""What a number says of a harmonization, in two words and a colour.

The rules stand here once and are printed under the table:

- Of fewer than eight people nothing is said but how near they came to a truth.
- A site probe or a share of significant features should lie within what chance gives. Above, site
  can still be told. **Below is no success**: it comes of judging people who were in the fit.
- Sites whose people differ in age are told apart by age. A probe that does no better than one that
  sees the covariates alone has found what was to be kept.
- A size of the site effect should lie within what chance gives, or at least be smaller than in raw
  values where that is not known; so should an error to a known truth.
- Tissues before and after are shown without a verdict: where a scanner's contrast was wrong,
  repairing it moves tissues, and where it was right, nothing should.
- Biology should be kept: no worse than raw, by its interval or to within 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from motet.evaluation.result import Metric, Reading

Mark = Literal["good", "bad", "caution", "none"]
TOLERANCE = 0.05
"""How far biology may fall below raw, relative, where there is no interval."""
FEWEST = 8
"""People below which nothing is said of a site effect or of biology."""
SAME = 2e-3
"""A relative change of an error that nobody would see."""
ALPHA = 0.05
"""Level of a single test."""
KEPT = 0.95
"""Correlation of effects with those in raw data from which they count as kept."""
SLOPE = (0.9, 1.1)
"""Slope of harmonized on raw effects that counts as kept."""


@dataclass(frozen=True)
class Verdict:
    """A mark, and the words that say it to those who see no colour."""

    mark: Mark
    words: str = ""


NOTHING = Verdict("none")
TOO_FEW = Verdict("none", "too few people")


def verdict(metric: Metric, version: str) -> Verdict:
    """Judge one reading of a metric."""
    reading = metric.readings.get(version)
    if reading is None or version == "demographics":
        return NOTHING
    if reading.value is None or (metric.aim != "truth" and 0 < reading.n < FEWEST):
        return TOO_FEW
    if metric.name.endswith("_p"):
        good = reading.value >= ALPHA
        return Verdict("good", "at chance") if good else Verdict("bad", f"below {ALPHA}")
    if metric.better == "chance":
        found = _against_chance(reading, metric.chance)
        alone = told_by_covariates(metric)
        explained = version != "raw" and alone is not None and reading.value <= alone
        return Verdict("caution", "as covariates") if found.mark == "bad" and explained else found
    raw = metric.readings.get("raw")
    if metric.better == "lower" and metric.aim == "site_effect" and reading.band is not None:
        return _size(reading, raw, version)
    if version == "raw" or metric.name.startswith("tissue_dice"):
        return NOTHING  # a repaired contrast changes tissues, too
    if metric.name.startswith("effect_kept_"):
        good = reading.value >= KEPT
        return Verdict("good", "kept") if good else Verdict("caution", "partly kept")
    if metric.name.startswith("effect_slope_"):
        if SLOPE[0] <= reading.value <= SLOPE[1]:
            return Verdict("good", "kept")
        return Verdict("caution", "weaker" if reading.value < SLOPE[0] else "stronger")
    if raw is None or raw.value is None:
        return NOTHING
    nothing = {"r2_": 0.0, "auc_": 0.5}
    if any(metric.name.startswith(kind) and raw.value <= at for kind, at in nothing.items()):
        return Verdict("none", "not in raw")
    if metric.better == "raw":
        return _as_raw(reading, raw.value)
    if metric.aim == "biology":
        return _no_worse(reading, raw.value, 1.0 if metric.better == "higher" else -1.0)
    return _improved(reading, raw.value, 1.0 if metric.better == "higher" else -1.0)


def _against_chance(reading: Reading, chance: float | None) -> Verdict:
    assert reading.value is not None
    bounds = reading.band
    if bounds is not None:
        if bounds[1] >= 1.0 or bounds[0] == bounds[1]:
            return TOO_FEW  # chance alone reaches a perfect score, or there is one way to shuffle
        if reading.within_band:
            return Verdict("good", "at chance")
        above = reading.value > bounds[1]
    elif reading.interval is not None and chance is not None:
        if reading.interval[0] <= chance <= reading.interval[1]:
            return Verdict("good", "at chance")
        above = reading.value > chance
    else:
        return NOTHING
    return Verdict("bad", "above chance") if above else Verdict("caution", "below chance")


def told_by_covariates(metric: Metric) -> float | None:
    """What the covariates alone, which are kept on purpose, reach; None where chance gives it."""
    alone = metric.readings.get("demographics")
    return alone.value if alone is not None and alone.within_band is False else None


def _size(reading: Reading, raw: Reading | None, version: str) -> Verdict:
    """A size of the site effect, where it is known what chance gives."""
    assert reading.value is not None
    assert reading.band is not None
    if reading.band[0] == reading.band[1]:
        return TOO_FEW
    if reading.value <= reading.band[1]:
        below = reading.value < reading.band[0]
        return Verdict("caution", "below chance") if below else Verdict("good", "at chance")
    if version == "raw" or raw is None or raw.value is None:
        return Verdict("bad", "above chance")
    smaller = reading.value < raw.value
    return Verdict("caution", "less than raw") if smaller else Verdict("bad", "not better")


def _as_raw(reading: Reading, raw: float) -> Verdict:
    assert reading.value is not None
    if _holds(reading, raw) or abs(reading.value - raw) <= 2 * TOLERANCE * abs(raw):
        return Verdict("good", "as raw")
    return Verdict("caution", "less than raw" if reading.value < raw else "more than raw")


def _no_worse(reading: Reading, raw: float, sign: float) -> Verdict:
    assert reading.value is not None
    gained = sign * (reading.value - raw)
    if gained >= -TOLERANCE * abs(raw) or _holds(reading, raw):
        return Verdict("good", "kept")
    return Verdict("bad", "lost")


def _improved(reading: Reading, raw: float, sign: float) -> Verdict:
    assert reading.value is not None
    gained = sign * (reading.value - raw)
    if abs(gained) <= SAME * abs(raw):
        return Verdict("none", "as raw")
    if gained <= 0:
        return Verdict("bad", "not better")
    return (
        Verdict("caution", "slightly better") if _holds(reading, raw) else Verdict("good", "better")
    )


def _holds(reading: Reading, value: float) -> bool:
    return reading.interval is not None and reading.interval[0] <= value <= reading.interval[1]

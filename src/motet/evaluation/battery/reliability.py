"""Whether travelers measure the same wherever they are scanned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from motet.evaluation.battery.draws import RESAMPLES, middle
from motet.evaluation.battery.sample import Float, Int, Sample
from motet.evaluation.result import Better, Metric, Reading
from motet.site import draw


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Travelers who were all scanned in the same batches.

    Attributes
    ----------
    rows : (n, k) int
        Row of the sample for traveler and batch; the first session where there are several.
    batches : (k,) int
    travelers : int
        How many travelers there are at all.
    """

    rows: Int
    batches: Int
    travelers: int


def block(sample: Sample) -> Block | None:
    """The complete block with most scans: ICC(2,1) compares the same people in the same batches.

    None where fewer than two travelers share two batches.
    """
    scanned: dict[int, dict[int, int]] = {}
    for row, (person, batch) in enumerate(zip(sample.person, sample.batch, strict=True)):
        scanned.setdefault(int(person), {}).setdefault(int(batch), row)
    travelers = {who: at for who, at in scanned.items() if len(at) > 1}
    sets = {frozenset(at) for at in travelers.values()}
    sets |= {a & b for a in sets for b in sets if len(a & b) > 1}

    def size(batches: frozenset[int]) -> tuple[int, int, list[int]]:
        n = sum(batches <= set(at) for at in travelers.values())
        return n * len(batches), n, sorted(-b for b in batches)

    usable = [batches for batches in sets if size(batches)[1] > 1]
    if not usable:
        return None
    best = sorted(sorted(usable, key=size)[-1])
    rows = [[at[b] for b in best] for at in travelers.values() if set(best) <= set(at)]
    return Block(rows=np.array(rows), batches=np.array(best), travelers=len(travelers))


def contradictions(sample: Sample) -> list[str]:
    """People whose rows differ in a categorical column: one name for two people, perhaps."""
    found = set()
    for covariate in sample.covariates:
        if covariate.kind == "categorical":
            values = sample.columns[covariate.name].astype(str)
            said = set(zip(sample.person.tolist(), values.tolist(), strict=True))
            times = Counter(person for person, _ in said)
            found |= {person for person, count in times.items() if count > 1}
    return sorted({str(sample.names[sample.person == person][0]) for person in found})


def icc_2_1(Y: Float) -> Float:
    """ICC(2,1): two-way random effects, absolute agreement, one measurement.

    Shrout and Fleiss 1979 (doi:10.1037/0033-2909.86.2.420), case 2: (BMS - EMS) / (BMS +
    (k - 1) EMS + k (JMS - EMS) / n).

    Parameters
    ----------
    Y : (..., n, k, p) float64
        People, batches, features.

    Returns
    -------
    (..., p) float64
        NaN where nothing varies.
    """
    n, k = Y.shape[-3:-1]
    grand = Y.mean(axis=(-3, -2), keepdims=True)
    person, judge = Y.mean(axis=-2, keepdims=True), Y.mean(axis=-3, keepdims=True)
    bms = k * ((person - grand) ** 2).sum(axis=(-3, -2)) / (n - 1)
    jms = n * ((judge - grand) ** 2).sum(axis=(-3, -2)) / (k - 1)
    ems = ((Y - person - judge + grand) ** 2).sum(axis=(-3, -2)) / ((n - 1) * (k - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        icc: Float = (bms - ems) / (bms + (k - 1) * ems + k * (jms - ems) / n)
    return icc


def within_cv(Y: Float) -> Float:
    """Within-subject coefficient of variation, (..., n, k, p) -> (..., p).

    Root of the mean over people of (sd / mean)^2 over their scans; NaN for a feature that has both
    signs, of which it says nothing.
    """
    mean = Y.mean(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Float = np.sqrt(((Y.std(axis=-2, ddof=1) / mean) ** 2).mean(axis=-2))
    one_sign = (Y > 0).all(axis=(-3, -2)) | (Y < 0).all(axis=(-3, -2))
    return np.where(one_sign, ratio, np.nan)


def traveler_metrics(values: Mapping[str, Float], found: Block, *, seed: int) -> list[Metric]:
    """Medians over features for every version, intervals over travelers drawn anew.

    Parameters
    ----------
    values : mapping of Version to (N, p) float64
        Features with a missing cell among the travelers are left out.
    """
    n = len(found.rows)
    cells = np.stack([X[found.rows] for X in values.values()])
    complete = np.isfinite(cells).all(axis=(0, 1, 2))
    drawn = draw(seed, "travelers", "").integers(n, size=(RESAMPLES, n))
    metrics = []
    kinds: tuple[tuple[str, str, Better, Callable[[Float], Float]], ...] = (
        ("icc_travelers", "ICC(2,1), median over features", "higher", icc_2_1),
        ("cv_travelers", "Within-subject CV, median over features", "lower", within_cv),
    )
    for name, title, better, score in kinds:
        readings = {}
        for version, X in values.items():
            Y = X[found.rows][:, :, complete]
            scores = score(Y)
            if not np.isfinite(scores).any():
                continue
            again = np.array([_median(score(Y[some])) for some in drawn]) if n > 3 else np.zeros(0)
            readings[version] = Reading(value=_median(scores), interval=middle(again), n=n)
        metrics.append(
            Metric(
                name=name,
                title=f"Travelers: {title}",
                aim="truth",
                better=better,
                readings=readings,
            )
        )
    return [metric for metric in metrics if metric.readings]


def _median(scores: Float) -> float:
    known = scores[np.isfinite(scores)]
    return float(np.median(known)) if len(known) else float("nan")

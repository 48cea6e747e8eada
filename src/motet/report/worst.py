"""The features to look at: most site effect left, and effects that changed most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri  # that of scipy.stats.norm.ppf, without a second of imports

from motet.report.read import StudyFiles
from motet.report.verdict import ALPHA
from motet.report.words import count, fixed, number

SHOWN = 10
"""Features a table lists."""

GROWN = 0.1
"""Growth of partial eta squared that is spoken of, where it is more than chance."""

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Worst:
    """A short table of features."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def effect_columns(study: StudyFiles) -> tuple[str, ...]:
    """Design columns whose standardized effects are known raw and harmonized."""
    names: set[str] = set()
    for judged in study.judgements.values():
        names |= {
            n.removeprefix("raw/effect/") for n in judged.arrays if n.startswith("raw/effect/")
        }
    known = [n for n in sorted(names) if study.by_feature(f"harmonized/effect/{n}") is not None]
    design = [c for c in known if c in _design(study)]
    return tuple(design + [c for c in known if c not in design])


def _design(study: StudyFiles) -> set[str]:
    found: set[str] = set()
    for covariate in study.plan["schema"]["covariates"]:
        found |= {f"{covariate['name']}={level}" for level in covariate["levels"]}
        found.add(str(covariate["name"]))
    return found


def worst_features(study: StudyFiles) -> tuple[Worst, ...]:
    """Tables of the largest remaining site effect, and of the largest change of each effect."""
    return tuple(table for table in (_remaining(study), *_changed(study)) if table is not None)


def _remaining(study: StudyFiles) -> Worst | None:
    before, after = study.by_feature("raw/eta2"), study.by_feature("harmonized/eta2")
    if before is None or after is None or not np.isfinite(after).any():
        return None
    p = study.by_feature("harmonized/anova_p")
    rows = [
        (
            study.features[j],
            _or_dash(before[j]),
            _or_dash(after[j]),
            "–" if p is None or not np.isfinite(p[j]) else number(p[j], digits=2),
        )
        for j in largest(after)
    ]
    return Worst(
        title="Largest remaining site effect",
        header=("feature", "partial η² raw", "harmonized", "p harmonized"),
        rows=tuple(rows),
    )


def grown(study: StudyFiles) -> str:
    """A sentence of features whose site effect grew; empty where none did."""
    before, after = study.by_feature("raw/eta2"), study.by_feature("harmonized/eta2")
    if before is None or after is None:
        return ""
    more = (after - before > GROWN) & _beyond_chance(study, before, after)
    if not more.any():
        return ""
    j = largest(np.where(more, after - before, np.nan), at_most=1)[0]
    return (
        f"The site effect of {count(int(more.sum()), 'feature')} is clearly larger than before, "
        f"most of all of {study.features[j]} (partial η² {fixed(before[j])} before, "
        f"{fixed(after[j])} after): leave such features out, or as measured."
    )


def _beyond_chance(study: StudyFiles, before: Float, after: Float) -> NDArray[np.bool_]:
    """Whether eta grew by more than two samples of so many people may differ, over all features.

    By Fisher's transform of eta, with 1 / (n - batches) for its variance: of simulated studies
    without growth, of 22 to 300 people, fewer than 3 % have a feature that passes.
    """
    judged = study.judgement
    n = 0 if judged is None else judged.n - len(study.fitted)
    if n < 1:
        return np.zeros(len(after), dtype=bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.arctanh(np.sqrt(after)) - np.arctanh(np.sqrt(before))
    least = -ndtri(ALPHA / max(1, np.isfinite(gain).sum())) * np.sqrt(2.0 / n)
    return np.asarray(gain > least, dtype=bool)


def _changed(study: StudyFiles) -> Iterable[Worst]:
    for column in effect_columns(study):
        before = study.by_feature(f"raw/effect/{column}")
        after = study.by_feature(f"harmonized/effect/{column}")
        assert before is not None
        assert after is not None
        change = after - before
        if not np.isfinite(change).any():
            continue
        yield Worst(
            title=f"Largest change of the effect of {column}",
            header=("feature", "effect raw", "harmonized", "change"),
            rows=tuple(
                (study.features[j], *(fixed(v[j]) for v in (before, after, change)))
                for j in largest(np.abs(change))
            ),
        )


def largest(values: Float, *, at_most: int = SHOWN) -> list[int]:
    """Indices of the largest finite values, largest first; ties in the features' order."""
    finite = np.flatnonzero(np.isfinite(values))
    order = np.argsort(-values[finite], kind="stable")
    return [int(j) for j in finite[order][:at_most]]


def _or_dash(value: float) -> str:
    return fixed(value, places=3) if np.isfinite(value) else "–"

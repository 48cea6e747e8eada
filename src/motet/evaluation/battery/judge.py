"""The full judgement of a simulated study: site effect, biology, travelers and truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from motet.bids.table import Table
from motet.config import Evaluation
from motet.errors import MotetError
from motet.evaluation.battery.invented import Permuted
from motet.evaluation.battery.needs import need_scikit_learn
from motet.evaluation.battery.sample import Bool, Float, Sample, gather
from motet.evaluation.battery.splits import Splits, folds, people_of, split
from motet.evaluation.battery.study import Study
from motet.evaluation.result import VERSIONS, Judgement, Version
from motet.plan import Plan

Values = Mapping[str, Float]
"""Site -> (n, p) float64, NaN where missing."""
Masks = Mapping[str, Bool]
"""Site -> (n,) bool."""


def battery(
    versions: Mapping[Version, Values],
    tables: Mapping[str, Table],
    *,
    fit: Masks,
    plan: Plan,
    settings: Evaluation,
    permuted: Sequence[Permuted] = (),
    truth: Values | None = None,
) -> Judgement:
    """Judge a simulated study on the people whom its fit did not see.

    Where everybody was in the fit, probes are read by folds over people, and the judgement says
    that the values were fitted on them.

    Parameters
    ----------
    versions : mapping of Version to mapping of str to (n, p) float64
        Site -> values, rows and features as in its table. ``raw`` is needed.
    tables : mapping of str to Table
        Raw data, covariates and columns of biology as in the plan's schema.
    fit : mapping of str to (n,) bool
        Who was in the fit: nobody at a site that joined later.
    plan : Plan
    settings : Evaluation
    permuted : sequence of Permuted
        The study harmonized again with a shuffled covariate, any number of times.
    truth : mapping of str to (n, p) float64, optional
        The values without any site effect, where they are known.

    Returns
    -------
    Judgement
        With ``source="simulation"``.

    Raises
    ------
    MissingPackageError
        scikit-learn is not installed.
    MotetError
        A version does not fit the tables, or no feature varies.
    """
    need_scikit_learn()
    _check(versions, tables)
    sample = sample_of(tables, fit, plan)
    splits = split(sample, held_out=plan.held_out, seed=plan.seed)
    values: dict[str, tuple[Float, ...]] = {
        name: (sample.stack(versions[name]),) for name in VERSIONS if name in versions
    }
    study = Study.of(sample, splits, values, plan=plan, settings=settings)
    return study.judge(permuted=permuted, truth=truth)


def cross_validated(
    fit_apply: Mapping[Version, Callable[[Masks], Values]],
    tables: Mapping[str, Table],
    *,
    plan: Plan,
    settings: Evaluation,
    truth: Values | None = None,
) -> Judgement:
    """Judge a method by folds over people: fitted on the others, applied to each fold.

    For studies too small for one set of held-out people. Probes are trained on the people of the
    fit and read on the fold; tests of features are made within each fold and averaged, since
    people of different folds were harmonized by different fits.

    Parameters
    ----------
    fit_apply : mapping of Version to callable
        Takes who trains, site -> (n,) bool, and returns the values of everybody, harmonized by a
        fit on those. ``raw`` is added.
    tables, plan, settings, truth
        As for :func:`battery`.
    """
    need_scikit_learn()
    everybody = {site: np.ones(len(table), dtype=bool) for site, table in tables.items()}
    sample = sample_of(tables, everybody, plan)
    parts = folds(sample, seed=plan.seed, step=0)
    splits = Splits(
        rounds=(parts,),
        judged=tuple(part.test for part in parts),
        people="held out",
        probed=people_of(sample, np.ones(len(sample), dtype=bool)) >= 3,
    )
    raw = {site: table.block(slice(None)) for site, table in tables.items()}
    values: dict[str, tuple[Float, ...]] = {"raw": (sample.stack(raw),)}
    for version, harmonize in fit_apply.items():
        found = []
        for part in parts:
            mask = np.zeros(len(sample), dtype=bool)
            mask[part.train] = True
            made = harmonize(sample.unstack(mask))
            _check({"raw": raw, version: made}, tables)
            found.append(sample.stack(made))
        values[version] = tuple(found)
    study = Study.of(sample, splits, values, plan=plan, settings=settings)
    return study.judge(permuted=(), truth=truth)


def sample_of(tables: Mapping[str, Table], fit: Masks, plan: Plan) -> Sample:
    """Everybody of a study in one place, travelers as one person."""
    links = {
        site: {person: traveler for traveler, person in table.travelers.items()}
        for site, table in tables.items()
    }
    return gather(tables, fit, plan=plan, links=links)


def _check(versions: Mapping[Version, Values], tables: Mapping[str, Table]) -> None:
    """Refuse values that are not those of the tables' people and features."""
    if "raw" not in versions:
        raise MotetError("The battery compares with the raw values, which are not given.")
    for version, values in versions.items():
        for site, table in tables.items():
            wanted = (len(table), len(table.features))
            if site not in values or values[site].shape != wanted:
                given = values[site].shape if site in values else "nothing"
                raise MotetError(
                    f"The values '{version}' are {given}, not {wanted} as the table.", site=site
                )

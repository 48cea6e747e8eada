"""ComBat's options, as they stand under ``params:`` in a study file."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from motet.errors import StudyFileError, listed, nearest
from motet.harmonizer import Params
from motet.schema import Batch, Schema


class ComBatParams(Params):
    """Options of ComBat.

    Parameters
    ----------
    prior : {"parametric", "nonparametric", "none"}
        How the batch effects of a batch's features are shrunk towards each other.
    adjust : {"location_scale", "location"}
        ``"location"`` leaves variances alone.
    reference : str, optional
        A batch (``site``, ``site/batch``, or a batch name that is unique) that stays untouched
        and to which the others are brought.
    feature_groups : dict, optional
        Name -> feature names or patterns (``"*_thickness"``). Every group has priors of its own,
        and the features that no group names share one. Default: one pool, as in neuroCombat.
    """

    prior: Literal["parametric", "nonparametric", "none"] = "parametric"
    adjust: Literal["location_scale", "location"] = "location_scale"
    reference: str | None = None
    feature_groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)


def group_of_features(params: ComBatParams, schema: Schema) -> NDArray[np.intp]:
    """Number of the prior pool of every feature, (p,) int; -1 where no group names it."""
    group = np.full(len(schema.features), -1, dtype=np.intp)
    names = list(params.feature_groups)
    for g, name in enumerate(names):
        for pattern in params.feature_groups[name]:
            found = [j for j, f in enumerate(schema.features) if fnmatchcase(f, pattern)]
            if not found:
                raise StudyFileError(
                    f"No feature matches '{pattern}'.",
                    do=nearest(pattern, schema.features),
                    key=f"params.feature_groups.{name}",
                )
            for j in found:
                if group[j] not in (-1, g):
                    raise StudyFileError(
                        f"'{schema.features[j]}' is in two groups, '{names[group[j]]}' and "
                        f"'{name}'.",
                        key=f"params.feature_groups.{name}",
                    )
                group[j] = g
    return group


def reference_batch(params: ComBatParams, schema: Schema) -> Batch | None:
    """The batch that ``reference`` names, or None where there is none."""
    if params.reference is None:
        return None
    exact = [b for b in schema.batches if params.reference == str(b)]
    named = exact or [b for b in schema.batches if params.reference in (b.name, b.site)]
    if len(named) == 1:
        return named[0]
    known = [str(b) for b in schema.batches]
    close = nearest(params.reference, known, cutoff=0.7)
    if named:
        raise StudyFileError(
            f"'{params.reference}' can mean {listed(named)}.",
            do=f"Write one of them, e.g. reference: {named[0]}.",
            key="params.reference",
        )
    raise StudyFileError(
        f"The reference batch '{params.reference}' is not among the batches that take part.",
        do=f"{close} They are: {listed(known, at_most=24)}.".lstrip(),
        key="params.reference",
    )

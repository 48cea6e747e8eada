"""ComBat's options, as they stand under ``params:`` in a study file."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from motet.errors import StudyFileError, nearest
from motet.harmonizer import Params
from motet.harmonizers._linear.options import Adjust, Prior
from motet.schema import Schema


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

    models_covariates: ClassVar[bool] = True

    prior: Prior = "parametric"
    adjust: Adjust = "location_scale"
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

"""How large the sums of an evaluation can become at a site, publicly: their room under masks.

Values are bounded by the study's magnitudes, what is standardized or predicted by them and by
what the rounds before have shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.evaluation.declared import V
from motet.evaluation.probes import LONGEST, Projection
from motet.evaluation.readings import FARTHEST
from motet.evaluation.rows import targets
from motet.images.measures import contrasts_of
from motet.releases import Arrays
from motet.scale import UNITS, Bounds, Magnitudes
from motet.schema import Schema

Float = NDArray[np.float64]

GROWTH = 4.0
"""No harmonized value is farther from 0 than the largest raw one by more than this."""


def of_values(size: Magnitudes, schema: Schema) -> Float:
    """Of features in every version, (p,). What is made of images may be in units of its own."""
    own = GROWTH * size.features
    return np.maximum(own, UNITS) if contrasts_of(schema.features) else own


def of_people(size: Magnitudes, schema: Schema) -> Bounds:
    """Round 1."""
    return {
        "sum_y": size.rows * of_values(size, schema),
        "sum_x": size.rows * size.judged_columns,
    }


def _about(size: Magnitudes, schema: Schema, shared: Arrays) -> tuple[Float, Float]:
    """Of columns (Q,) and features (V, p) about their centres."""
    columns = size.judged_columns + np.abs(shared["centre_x"])
    return columns, of_values(size, schema) + np.abs(shared["centre"])


def of_moments(size: Magnitudes, schema: Schema, shared: Arrays) -> Bounds:
    """Round 2."""
    X, Y = _about(size, schema, shared)
    x, xx = size.rows * X, size.rows * X[:, None] * X
    y, yy = size.rows * Y, size.rows * Y**2
    xy = size.rows * X[:, None] * Y[:, None]
    columns: Mapping[str, Any] = {"x": x, "xx": xx, "xx_within": xx}
    return {
        **columns,
        **{f"{name}_of_incomplete": bound for name, bound in columns.items()},
        **{"y": y, "yy": yy, "yy_within": yy, "xy": xy, "xy_within": xy},
        **{"y_trained": y, "yy_trained": yy},
    }


def _of_targets(size: Magnitudes, schema: Schema, centre: Float) -> Float:
    """Of what probes predict, (T,), about a centre: columns by their name, levels by 1."""
    columns = dict(zip(schema.with_biology.columns, size.judged_columns, strict=True))
    own = [1.0 if target.level else columns[target.name] for target in targets(schema)]
    return np.asarray(own, dtype=np.float64) + np.abs(centre)


def of_probes(size: Magnitudes, schema: Schema, shared: Arrays, *, seed: int) -> Bounds:
    """Round 3."""
    X, Y = _about(size, schema, shared)
    distance = 2.0 * (Y + np.einsum("q,vqp->vp", X, np.abs(shared["beta"])))
    standardized = (of_values(size, schema) + np.abs(shared["mean"])) * shared["per_sd"]
    F = Projection(len(schema.features), seed=seed).bound(standardized)
    T = _of_targets(size, schema, shared["centre_t"])
    rows = size.rows
    return {
        **{"z": rows * distance, "zz": rows * distance**2, "zz_within": rows * distance**2},
        "f": rows * F,
        "ff": rows * F[:, :, None] * F[:, None],
        "f_of_batch": rows * F[:, None],
        "ff_within": rows * F[:, :, None] * F[:, None],
        "f4": rows * (LONGEST * F.shape[1]) ** 2,
        "t": rows * T,
        "tt": rows * T**2,
        "tf": rows * T[:, None] * F[:, None],
    }


def of_readings(size: Magnitudes, schema: Schema, shared: Arrays) -> Bounds:
    """Round 4."""
    T = _of_targets(size, schema, shared["target_mean"])
    E = np.broadcast_to(T + FARTHEST * shared["target_sd"], (V, len(T)))
    rows = size.rows
    return {
        **{name: rows * T**k for name, k in (("t", 1), ("tt", 2), ("t3", 3), ("t4", 4))},
        **{name: rows * E**k for name, k in (("e1", 1), ("ee", 2), ("e4", 4))},
        "eet": rows * E**2 * T,
        "eett": rows * E**2 * T**2,
    }

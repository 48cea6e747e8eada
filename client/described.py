"""What a site says of its data before there is a plan: names, units, levels, nothing of anybody."""

from __future__ import annotations

from typing import Any

from motet.config import Study
from motet.plan import AGREE_ON_GRID
from motet.schema import SiteSchema

DESCRIBED = (*AGREE_ON_GRID.equal, *AGREE_ON_GRID.union, *AGREE_ON_GRID.largest)
"""What a description may hold."""


def masked(study: Study, document: Any) -> bool:
    """Whether sums are going to be masked, so that it has to be known how large numbers are."""
    return study.privacy.secure_sum is not False and document.get("masked") is True


def public(described: SiteSchema, *, scaled: bool) -> dict[str, Any]:
    """A site's description as it leaves; with how large numbers are where that is needed."""
    scale = described.scale if scaled else None
    return {
        "features": list(described.features),
        "units": list(described.units),
        "covariates": [
            {
                "name": c.name,
                "kind": c.kind,
                "levels": list(c.levels),
                "varies": c.varies,
                **({"spline": c.spline.to_json()} if c.spline else {}),
            }
            for c in described.covariates
        ],
        "batches": list(described.batches),
        **({"grid": list(described.grid)} if described.grid else {}),
        **({"scale": scale.to_json()} if scale else {}),
    }

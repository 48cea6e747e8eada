"""Reading what a site says of its data: nothing in it is trusted before it is checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from motet.errors import SchemaError, is_plain_name
from motet.scale import Scale
from motet.schema import Kind, SiteCovariate, SiteSchema, names_digest
from motet.spline import Spline


class _Covariate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    kind: Kind
    levels: tuple[str, ...]
    varies: bool
    spline: dict[str, Any] | None = None


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid")

    features: tuple[str, ...] = Field(default=(), min_length=1)
    units: tuple[str, ...] = ()
    same_as: str = ""
    covariates: tuple[_Covariate, ...]
    batches: tuple[str, ...] = Field(min_length=1)
    grid: tuple[float, ...] = ()
    scale: dict[str, Any] | None = None
    holds: tuple[str, ...] = ()


def features_digest(described: SiteSchema) -> str:
    """The digest that stands for a site's features and units."""
    return names_digest((*described.features, *described.units))


def read_site_schema(
    site: str, document: Any, covariates: Sequence[str], first: SiteSchema | None = None
) -> SiteSchema:
    """Check a site's description and read it.

    Parameters
    ----------
    site : str
    document : Any
        What the site sent.
    covariates : sequence of str
        Those of the study, in its order.
    first : SiteSchema, optional
        The site whose features this one may say it has, by their digest.

    Raises
    ------
    SchemaError
        When it is not one.
    """
    try:
        described = _Described.model_validate(document)
    except ValidationError as error:
        raise SchemaError("The description of its data is not valid.", site=site) from error
    features, units = described.features, described.units
    if first is not None and not features and described.same_as == features_digest(first):
        features, units = first.features, first.units
    if not features:
        raise SchemaError("It describes no features.", site=site)
    if len(units) != len(features):
        raise SchemaError("Not every feature has a unit entry.", site=site)
    if [c.name for c in described.covariates] != list(covariates):
        raise SchemaError("It describes other covariates than the study's.", site=site)
    if described.features and len(set(features)) < len(features):
        raise SchemaError("It describes a feature twice.", site=site)
    if len(set(described.batches)) < len(described.batches):
        raise SchemaError("It describes a batch twice.", site=site)
    if not all(is_plain_name(name) for name in described.batches):
        raise SchemaError("A batch has a name that cannot be used.", site=site)
    if described.grid and not _is_grid(described.grid):
        raise SchemaError("It describes a grid that is none.", site=site)
    scale = None if described.scale is None else Scale.from_json(described.scale)
    if scale and (len(scale.features), len(scale.covariates)) != (len(features), len(covariates)):
        raise SchemaError("It describes the scale of other features or covariates.", site=site)
    return SiteSchema(
        site=site,
        features=features,
        units=units,
        covariates=tuple(_covariate(site, c) for c in described.covariates),
        batches=described.batches,
        grid=described.grid,
        scale=scale,
        holds=described.holds,
    )


def _covariate(site: str, c: _Covariate) -> SiteCovariate:
    try:
        spline = None if c.spline is None else Spline.from_json(c.spline)
    except ValueError as error:
        raise SchemaError("It describes a spline that is none.", site=site) from error
    if spline and c.kind != "continuous":
        raise SchemaError("It describes a spline of a category.", site=site)
    return SiteCovariate(name=c.name, kind=c.kind, levels=c.levels, varies=c.varies, spline=spline)


def _is_grid(grid: tuple[float, ...]) -> bool:
    """A shape of at most 2048 voxels an axis, then twelve finite numbers."""
    shape = grid[:3]
    return (
        len(grid) == 15
        and all(map(math.isfinite, grid))
        and all(n == int(n) and 1 <= n <= 2048 for n in shape)
    )

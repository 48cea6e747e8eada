"""Reading what a site says of its data: nothing in it is trusted before it is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from motet.errors import SchemaError, is_plain_name
from motet.schema import Kind, SiteCovariate, SiteSchema


class _Covariate(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    kind: Kind
    levels: tuple[str, ...]
    varies: bool


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid")

    features: tuple[str, ...] = Field(min_length=1)
    units: tuple[str, ...]
    covariates: tuple[_Covariate, ...]
    batches: tuple[str, ...] = Field(min_length=1)


def read_site_schema(site: str, document: Any, covariates: Sequence[str]) -> SiteSchema:
    """Check a site's description and read it.

    Parameters
    ----------
    site : str
    document : Any
        What the site sent.
    covariates : sequence of str
        Those of the study, in its order.

    Raises
    ------
    SchemaError
        When it is not one.
    """
    try:
        described = _Described.model_validate(document)
    except ValidationError as error:
        raise SchemaError("The description of its data is not valid.", site=site) from error
    if len(described.units) != len(described.features):
        raise SchemaError("Not every feature has a unit entry.", site=site)
    if [c.name for c in described.covariates] != list(covariates):
        raise SchemaError("It describes other covariates than the study's.", site=site)
    if len(set(described.features)) < len(described.features):
        raise SchemaError("It describes a feature twice.", site=site)
    if len(set(described.batches)) < len(described.batches):
        raise SchemaError("It describes a batch twice.", site=site)
    if not all(is_plain_name(name) for name in described.batches):
        raise SchemaError("A batch has a name that cannot be used.", site=site)
    return SiteSchema(
        site=site,
        features=described.features,
        units=described.units,
        covariates=tuple(
            SiteCovariate(name=c.name, kind=c.kind, levels=c.levels, varies=c.varies)
            for c in described.covariates
        ),
        batches=described.batches,
    )

"""Steps as plain data: what a plan hash covers."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel

from motet.errors import PlanError
from motet.schema import Schema
from motet.store import json_hash

REBUILD = "Use a module-level function or a method of a frozen dataclass."


def describe(value: Any) -> Any:
    """A step as plain data: what the plan hash covers.

    A callable becomes its qualified name; a bound method also describes the frozen dataclass it
    belongs to. Schema and parameters stand in the plan already and become their digests.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Schema):
        return {"schema": value.digest}
    if isinstance(value, BaseModel):
        return {"params": json_hash(value.model_dump(mode="json"))}
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not callable(value):
        fields = {
            f.name: described
            for f in dataclasses.fields(value)
            if (described := describe(getattr(value, f.name))) not in ("", None, [], {})
        }
        return {"is": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if callable(value):
        return _describe_callable(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise PlanError("A plan cannot hold a number that is not finite.")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise PlanError(f"A plan cannot hold a {type(value).__name__}.")


def _describe_callable(function: Any) -> Any:
    if not (
        inspect.isfunction(function) or inspect.ismethod(function) or isinstance(function, type)
    ):
        raise PlanError(f"A plan cannot be rebuilt from a {type(function).__name__}.", do=REBUILD)
    name = f"{function.__module__}:{function.__qualname__}"
    if "<" in name:
        raise PlanError(
            f"{name} is a lambda or a nested function: a plan cannot be rebuilt from it.",
            do=REBUILD,
        )
    owner = getattr(function, "__self__", None)
    if owner is None:
        return name
    parameters = getattr(type(owner), "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise PlanError(f"{name} belongs to an object that is not a frozen dataclass.")
    return {"call": name, "of": describe(owner)}

"""The methods there are: every folder of ``harmonizers/`` whose name has no leading underscore."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import cast

import motet.harmonizers
from motet.errors import PlanError, UnknownMethodError, nearest
from motet.harmonizer import Card, Harmonizer, Params

REQUIRED = ("plan", "join", "site_model", "apply")


class Registry:
    """Methods by name, each checked against the specification when it registers."""

    def __init__(self) -> None:
        self._methods: dict[str, Harmonizer] = {}

    def register(self, method: Harmonizer) -> None:
        """Add a method.

        Raises
        ------
        PlanError
            When it lacks a part of the specification, or its name is taken: the same folder
            imported under two module names would otherwise be two methods with one name.
        """
        kind = type(method)
        where = f"{kind.__module__}.{kind.__qualname__}"
        for attribute in REQUIRED:
            if not callable(getattr(method, attribute, None)):
                raise PlanError(f"The method {where} has no '{attribute}'.")
        if not isinstance(getattr(method, "card", None), Card):
            raise PlanError(f"The method {where} has no Card.")
        if not issubclass(getattr(method, "params_type", object), Params):
            raise PlanError(f"The params_type of {where} does not derive from Params.")
        if method.name in self._methods:
            other = type(self._methods[method.name])
            raise PlanError(
                f"The method '{method.name}' of {where} is registered already, from "
                f"{other.__module__}.",
                do="Import methods as motet.harmonizers.<name> only, and give each its own name.",
            )
        self._methods[method.name] = method

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._methods))

    def get(self, name: str) -> Harmonizer:
        """The method of this name, or an error with the nearest one."""
        if name not in self._methods:
            raise UnknownMethodError(
                f"There is no method '{name}'.",
                do=nearest(name, self._methods) or f"Known: {', '.join(self.names())}.",
                key="method",
            )
        return self._methods[name]


@cache
def methods() -> Registry:
    """The registry of all methods that this installation has."""
    registry = Registry()
    for module in sorted(m.name for m in pkgutil.iter_modules(motet.harmonizers.__path__)):
        if not module.startswith("_"):
            package = importlib.import_module(f"motet.harmonizers.{module}")
            registry.register(cast(Harmonizer, package.HARMONIZER))
    return registry

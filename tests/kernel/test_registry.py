"""The registry refuses what is no method, and one method under two names of modules."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.toy import ToyMethod
from motet.errors import PlanError, UnknownMethodError
from motet.harmonizer import Card, Params
from motet.registry import REQUIRED, Registry, methods


def test_one_name_registers_once() -> None:
    """Catches the same folder imported under two module names: two methods, one of them stale."""
    registry = Registry()
    registry.register(ToyMethod())
    copy = type("ToyMethod", (ToyMethod,), {"__module__": "harmonizers.toy"})
    with pytest.raises(PlanError, match="registered already") as error:
        registry.register(copy())
    assert "harmonizers.toy" in str(error.value)
    assert ToyMethod.__module__ in str(error.value)
    assert registry.names() == ("toy",)


@pytest.mark.parametrize("missing", REQUIRED)
def test_method_without_an_entry_point(missing: str) -> None:
    """Catches a method that would fail only when a study reaches its apply."""
    half = type("Half", (ToyMethod,), {missing: None})
    with pytest.raises(PlanError, match=f"'{missing}'"):
        Registry().register(half())


@pytest.mark.parametrize(
    ("attribute", "value"), [("card", None), ("card", "a card"), ("params_type", dict)]
)
def test_method_without_card_or_params(attribute: str, value: Any) -> None:
    """Catches options that nobody validates and a method that no list can describe."""
    half = type("Half", (ToyMethod,), {attribute: value})
    with pytest.raises(PlanError, match="Half"):
        Registry().register(half())


def test_unknown_name_gets_the_nearest() -> None:
    """Catches a KeyError, and a list of everything where one name is meant."""
    with pytest.raises(UnknownMethodError, match="Did you mean 'combat'"):
        methods().get("ComBt")
    with pytest.raises(UnknownMethodError, match="Known: "):
        methods().get("zzzzz")


def test_every_registered_method_is_described() -> None:
    """Catches a method without papers, a sentence of what it does, or of what leaves a site."""
    assert "combat" in methods().names()
    assert not any(name.startswith("_") for name in methods().names())
    for name in methods().names():
        method = methods().get(name)
        assert method.name == name
        assert isinstance(method.card, Card)
        assert method.card.title
        # A control is not a published method.
        assert method.card.papers or "a control" in method.card.summary.lower()
        assert method.card.summary.endswith(".")
        assert method.card.leaves
        assert issubclass(method.params_type, Params)

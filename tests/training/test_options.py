"""The section ``train:`` of a study file: what is filled in, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from motet.config import checked
from motet.errors import StudyFileError
from motet.training.options import TrainedParams


class Near(TrainedParams):
    """A method whose published setting is fedprox."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"train": {"mode": "local", "server": "fedprox"}},
        "paper": {"train": {"mode": "exact"}},
    }


@pytest.mark.parametrize("server", ["fedprox", "fedadam"])
@pytest.mark.parametrize("how", [{"mode": "exact"}, {"preset": "paper"}], ids=str)
def test_no_networks_are_combined_in_exact_mode(server: str, how: dict[str, Any]) -> None:
    """Catches a study that says fedprox, is reported so, and is trained in exact mode."""
    with pytest.raises(StudyFileError, match=f"server: {server}.*mode is exact.*mode: local"):
        checked(Near, {"train": {**how, "server": server}}, under="params")


def test_a_default_is_not_refused() -> None:
    """Catches a preset that cannot be run in exact mode, or params that cannot be read back."""
    params = checked(Near, {"train": {"mode": "exact"}}, under="params")
    assert (params.train.mode, params.train.server) == ("exact", "fedavg")
    assert checked(Near, params.model_dump(mode="json"), under="params") == params
    near = checked(Near, {}, under="params")
    assert (near.train.mode, near.train.server) == ("local", "fedprox")

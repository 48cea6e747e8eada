"""The section ``train:`` of a study file: what is filled in, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from motet.config import checked, parse_study
from motet.errors import StudyFileError
from motet.params import parse_params
from motet.training.options import TrainedParams


class Near(TrainedParams):
    """A method whose published setting is fedprox."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {
            "train": {"mode": "local", "server": "fedprox", "local_steps": 10, "proximal": 0.1}
        },
        "paper": {"train": {"mode": "exact"}},
    }


class Faster(TrainedParams):
    """A method of which a preset says something new."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {"train": {"local_rate": 3.0, "extrapolate": True}}
    }


STUDY = {"study": "made", "method": "deepcombat", "sites": {"a": "a", "b": "b"}}


@pytest.mark.parametrize("server", ["fedprox", "fedadam", "scaffold"])
@pytest.mark.parametrize("how", [{"mode": "exact"}, {"preset": "paper"}], ids=str)
def test_no_networks_are_combined_in_exact_mode(server: str, how: dict[str, Any]) -> None:
    """Catches a study that says fedprox, is reported so, and is trained in exact mode."""
    with pytest.raises(StudyFileError, match=f"server: {server}.*mode is exact.*mode: local"):
        checked(Near, {"train": {**how, "server": server}}, under="params")


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"server": "fedavg", "proximal": 0.01}, "proximal.*server is fedavg.*server: fedprox"),
        ({"server": "fedadam", "proximal": 0.1}, "proximal.*server is fedadam.*server: fedprox"),
        ({"server_rate": 0.1}, "server_rate.*server is fedprox.*server: fedadam"),
        ({"mode": "exact", "local_steps": 30}, "local_steps.*mode is exact.*mode: local"),
        ({"preset": "paper", "local_rate": 2.0}, "local_rate.*mode is exact.*mode: local"),
        ({"preset": "paper", "moments": "kept"}, "moments.*mode is exact.*mode: local"),
        ({"preset": "paper", "proximal": 0.1}, "proximal.*mode is exact.*mode: local"),
        ({"preset": "paper", "extrapolate": True}, "extrapolate.*mode is exact.*mode: local"),
        ({"server": "fedadam", "extrapolate": True}, "extrapolate.*fedadam has a step of its own"),
        ({"validate_every": 10}, "validate_every.*nobody validates"),
        ({"steps": 7, "local_steps": 8}, "local_steps.*8 steps is longer.*has 7. Take fewer"),
        ({"steps": 9, "local_steps": 5, "warm_up": 5}, "local_steps.*has 9, 5 of them of warm_up"),
        ({"rounds": 3, "epochs": 2}, "rounds.*so does epochs. Take one of them out"),
        ({"server": "fedagv"}, "server.*'fedprox'.*Did you mean 'fedavg'"),
    ],
    ids=str,
)
def test_a_key_without_effect_is_refused(train: dict[str, Any], said: str) -> None:
    """Catches somebody who believes that sites were pulled together, and trained by FedAvg."""
    with pytest.raises(StudyFileError, match=said):
        checked(Near, {"train": train}, under="params")


@pytest.mark.parametrize(
    "train",
    [
        {"proximal": 0.1},
        {"server": "fedadam", "server_rate": 0.1, "local_steps": 5, "moments": "kept"},
        {"preset": "paper", "mode": "local", "local_steps": 5},
        {"validation": 0.1, "validate_every": 10},
        {"mode": "exact"},
        {"server": "fedavg"},
    ],
    ids=str,
)
def test_what_has_an_effect_and_what_a_preset_sets_is_not(train: dict[str, Any]) -> None:
    """Catches keys of a preset that count as written, also where parameters are read back."""
    params = checked(Near, {"train": train}, under="params")
    assert checked(Near, params.model_dump(mode="json"), saved=True) == params
    assert Near(train=params.train) == params


def test_a_default_is_not_refused() -> None:
    """Catches a preset that cannot be run in exact mode, or params that cannot be read back."""
    params = checked(Near, {"train": {"mode": "exact"}}, under="params")
    assert (params.train.mode, params.train.server) == ("exact", "fedavg")
    assert checked(Near, params.model_dump(mode="json"), saved=True) == params
    near = checked(Near, {}, under="params")
    assert (near.train.mode, near.train.server) == ("local", "fedprox")


@pytest.mark.parametrize("mode", ["exact", "local"])
def test_what_an_older_version_saved_can_be_read(mode: str) -> None:
    """Catches models that were saved before there was an option: their others were not written by
    hand, and what a preset says of the new one today is not what was done."""
    saved = Faster(train={"mode": mode}).model_dump(mode="json")
    del saved["train"]["local_rate"]
    saved["train"] |= {"steps": 7, "local_steps": 8}  # which was allowed then
    read = checked(Faster, saved, saved=True)
    assert (read.train.mode, read.train.local_rate) == (mode, 1.0)
    assert Faster(train={"mode": "local"}).train.local_rate == 3.0


def test_a_preset_goes_further_only_where_something_is_averaged() -> None:
    """Catches a plan that speaks of a mean that nobody takes, and rates that were chosen for one
    server and taken with another."""
    assert Faster().train.extrapolate
    assert Faster(train={"server": "fedavg"}).train.local_rate == 3.0
    for other in ({"mode": "exact"}, {"server": "fedadam"}, {"server": "scaffold"}):
        params = checked(Faster, {"train": other}, under="params")
        assert (params.train.extrapolate, params.train.local_rate) == (False, 1.0)
        assert checked(Faster, params.model_dump(mode="json"), saved=True) == params
    own = {"server": "scaffold", "extrapolate": True, "local_rate": 2.0}
    assert Faster(train=own).train.model_dump(include=own.keys()) == own


def test_train_is_a_section_of_its_own() -> None:
    """Catches an error that sends people to a key that their file has not."""
    with pytest.raises(StudyFileError) as caught:
        parse_params(parse_study({**STUDY, "train": {"local_stepps": 3}}))
    assert caught.value.where["key"] == "train.local_stepps"
    with pytest.raises(StudyFileError) as caught:
        parse_params(parse_study({**STUDY, "params": {"latent": -1}}))
    assert caught.value.where["key"].startswith("params.")
    with pytest.raises(StudyFileError) as caught:
        parse_params(parse_study({**STUDY, "train": {"mode": "exact", "local_steps": 3}}))
    assert caught.value.where["key"] == "train.local_steps"

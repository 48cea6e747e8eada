"""The section ``train:`` of a study file: how the sites train together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from motet.config import is_saved, misfit
from motet.harmonizer import Params

Mode = Literal["exact", "local"]
Server = Literal["fedavg", "fedprox", "fedadam", "scaffold"]
OF_SERVER = frozenset({"local_rate", "moments", "extrapolate"})
"""Of these a preset's are chosen for its server: with another the defaults are what they were."""
Preset = Literal["paper", "small", "tiny"]


class TrainOptions(BaseModel):
    """How the sites train together; what is not given is the preset's.

    Parameters
    ----------
    preset : {"paper", "small", "tiny"}
        Size of the networks and length of the training: as published, for a laptop, for tests.
    mode : {"exact", "local"}
        ``exact``: every step sums gradients over sites, as if all people were in one place.
        ``local``: sites take `local_steps` steps between exchanges.
    server : {"fedavg", "fedprox", "fedadam", "scaffold"}
        What is made of the sites' networks in local mode: their mean, the mean of networks that
        a proximal term kept near it, a step of Adam towards it, or the mean of networks whose
        gradients were corrected by what all sites' were on average.
    steps : int
        Steps of the training, or the most where `epochs` says how many.
    epochs : float
        Passes over the people of the fit; 0: as many as `steps` make.
    batch : int
        The most people (or slices) of a step, over all sites, since passes are cut into equal
        steps; 0: everybody.
    local_steps : int
        Steps between exchanges.
    local_rate : float
        Local mode: factor on learning rates. A site's step is of fewer samples; where gradients are
        noise for the most part, Adam takes steps that are smaller by up to the root of the number
        of sites, once they are averaged. What is not averaged keeps pace with it: owners' parts,
        sums over sites, and groups that never leave.
    warm_up : int
        Steps of exact mode before local mode; more where that takes a round of all updates.
    moments : {"averaged", "kept", "forgotten"}
        In local mode the optimizer's moments are averaged with the networks, kept at each site, or
        begin anew after each exchange.
    extrapolate : bool
        Local mode, but for fedadam: the mean of the sites' changes is multiplied, group by group,
        by half of what their mean square is beside its square, at least 1 and at most half the
        number of sites (FedExP). What single sites' people teach points elsewhere at each site,
        and the mean alone keeps a part of it that falls with their number.
    proximal : float
        Weight mu of fedprox' term ``mu / 2 |w - w_shared|^2``.
    server_rate : float
        Learning rate of fedadam.
    validation : float
        Share of people of the fit on whom nothing is trained; the networks with the smallest
        summed loss on them are kept. 0: the last ones are.
    validate_every : int
        Steps between validations.
    precision : {"float64", "float32", "bfloat16"}
        Of the networks; ``bfloat16`` is mixed precision.
    transfer : {"float64", "float32", "bfloat16"}
        Of what a site sends where sums are not masked.
    compile : bool
        Whether losses are compiled for the GPU; on the CPU it changes nothing.
    threads : int
        Threads of the arithmetic: part of the plan, since the last bits depend on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = "small"
    mode: Mode = "local"
    server: Server = "fedavg"
    steps: int = Field(default=1000, ge=1)
    epochs: float = Field(default=0.0, ge=0.0)
    batch: int = Field(default=64, ge=0)
    local_steps: int = Field(default=20, ge=1)
    local_rate: float = Field(default=1.0, gt=0.0, le=10.0)
    warm_up: int = Field(default=0, ge=0)
    moments: Literal["averaged", "kept", "forgotten"] = "averaged"
    extrapolate: bool = False
    proximal: float = Field(default=0.01, ge=0.0)
    server_rate: float = Field(default=0.01, gt=0.0)
    validation: float = Field(default=0.0, ge=0.0, lt=1.0)
    validate_every: int = Field(default=50, ge=1)
    precision: Literal["float64", "float32", "bfloat16"] = "float32"
    transfer: Literal["float64", "float32", "bfloat16"] = "float32"
    compile: bool = False
    threads: int = Field(default=1, ge=1)


class TrainedParams(Params):
    """Base of the parameters of a trained method.

    Parameters
    ----------
    train : dict
        The section ``train:`` of the study file; see ``docs/howto/train.md``.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Preset -> ``train``, what it sets of that section, and other parameters."""
    used: ClassVar[Collection[str]] = tuple(TrainOptions.model_fields)
    """What of the section ``train`` has an effect."""

    train: TrainOptions = TrainOptions()

    @model_validator(mode="before")
    @classmethod
    def _of_the_preset(cls, value: Any, info: ValidationInfo) -> Any:
        """Fill ``train`` with what its preset says.

        What was saved is complete; of options that there were none of then, the default is what
        was done.
        """
        if not isinstance(value, Mapping) or is_saved(info):
            return value
        given, chosen = cls._given(value)
        written = not isinstance(value.get("train"), TrainOptions) and not is_dump(given)
        rounds = given.pop("rounds", None)
        chosen.pop("rounds", None)
        preset = {k: v for k, v in cls._preset(given).items() if k != "train"}
        if chosen.get("mode") == "exact":
            _check_exact(given)
            chosen.pop("server", None)  # a preset's is of its local mode
        its = cls._preset(given).get("train", {}).get("server", "fedavg")
        if chosen.get("mode") == "exact" or chosen.get("server", "fedavg") != its:
            for name in OF_SERVER.difference(given):
                chosen.pop(name, None)
        if written:
            _check_used(given, chosen)
        if rounds is not None:
            if both := [name for name in ("steps", "epochs") if given.get(name)]:
                raise misfit(
                    "train.rounds",
                    f"it says how long the training is, and so does {both[0]}. Take one of them "
                    "out",
                )
            if type(rounds) is not int or rounds < 1:
                raise misfit("train.rounds", f"this is a number of exchanges, not {rounds!r}")
            each = 1 if chosen.get("mode", "local") == "exact" else chosen.get("local_steps", 20)
            # Exchanges are what users of Flower count: so many of them, however many people.
            chosen |= {"steps": int(chosen.get("warm_up", 0)) + rounds * int(each), "epochs": 0.0}
        return {**preset, **value, "train": chosen}

    @classmethod
    def _preset(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return cls.presets.get(str(given.get("preset", "small")), {})

    @classmethod
    def _given(cls, value: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is given of ``train``, and the same with what its preset says."""
        given = value.get("train") or {}
        if isinstance(given, TrainOptions):
            given = given.model_dump(exclude_unset=True)  # with what a preset has set
        if not isinstance(given, Mapping):
            raise ValueError("train holds options: {mode: local, local_steps: 20}")
        return dict(given), {**cls._preset(given).get("train", {}), **given}

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        how = self.train
        if is_saved(info):
            return self  # an older version may have allowed what it did
        if how.mode == "exact" and how.warm_up:
            raise misfit("train.warm_up", "it comes before local mode, and mode is exact")
        if how.mode == "local" and how.steps < how.warm_up + how.local_steps:
            said = f", {how.warm_up:,} of them of warm_up" if how.warm_up else ""
            raise misfit(
                "train.local_steps",
                f"an exchange of {how.local_steps:,} steps is longer than the training, which has "
                f"{how.steps:,}{said}. Take fewer 'local_steps', or more 'steps'",
            )
        if how.extrapolate and how.server == "fedadam":
            raise misfit(
                "train.extrapolate",
                "fedadam has a step of its own, of no mean's length. Take it out, or take another "
                "server: fedavg, fedprox or scaffold",
            )
        return self


def is_dump(given: Mapping[str, Any]) -> bool:
    """Whether ``train`` is complete: nobody writes all of it."""
    return TrainOptions.model_fields.keys() <= given.keys()


def _check_exact(given: Mapping[str, Any]) -> None:
    """Refuse to combine networks of local mode where no site ever has networks of its own."""
    server = given.get("server", "fedavg")
    if server != "fedavg":
        raise misfit(
            "train.server",
            f"{server} says what is made of networks in local mode, and mode is exact. Take "
            "'server' out, or set mode: local",
        )


def _check_used(given: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """Refuse what somebody wrote and nothing reads: the training would not be what it looks like.

    Parameters
    ----------
    given : mapping
        What the study file says.
    chosen : mapping
        The same with what the preset sets.
    """
    is_now = {"mode": "local", "server": "fedavg", **chosen}
    needs = {
        "local_steps": ("mode", "local"),
        "local_rate": ("mode", "local"),
        "moments": ("mode", "local"),
        "extrapolate": ("mode", "local"),
        "proximal": ("server", "fedprox"),
        "server_rate": ("server", "fedadam"),
    }
    for name, (key, value) in needs.items():
        if name not in given:
            continue
        if is_now["mode"] == "exact":
            key, value = "mode", "local"
        if is_now[key] != value:
            raise misfit(
                f"train.{name}",
                f"it has no effect where {key} is {is_now[key]}. Take it out, or set "
                f"{key}: {value}",
            )
    if "validate_every" in given and not chosen.get("validation"):
        raise misfit(
            "train.validate_every",
            "it has no effect where nobody validates. Take it out, or set validation: 0.1",
        )

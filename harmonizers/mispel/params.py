"""MISPEL's options."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from motet.config import is_saved, misfit
from motet.harmonizers.mispel.sizes import Sizes
from motet.images.params import RegisteredParams
from motet.training.options import TrainedParams, is_dump

Mode = Literal["hub", "sites", "pairs"]
SIZES = {
    "paper": Sizes(),
    "small": Sizes(widths=(8, 16, 32), spread=0.4),
    "tiny": Sizes(widths=(2, 2, 3), maps=2),
}
_OF_SITES = "it is of a consensus of sites that each hold their own scans"
OTHERS: Mapping[str, Mapping[str, str]] = {
    "hub": dict.fromkeys(("stride", "sent", "largest"), _OF_SITES),
    "pairs": dict.fromkeys(("stride", "sent", "largest"), _OF_SITES),
    "sites": {"hub": "there is a hub where mode is hub or pairs"},
}
"""Mode -> options that it does not read, and why."""


class MispelParams(TrainedParams, RegisteredParams):
    """Options of MISPEL.

    Parameters
    ----------
    mode : {"hub", "sites", "pairs"}
        ``hub``: one site holds all scans of the travelers, trains all units, and seals each for
        its site. ``sites``: each site holds its own scans; sites that scanned a traveler exchange
        what this person's embeddings have in common. ``pairs``: one site holds travelers of
        its own scanner and one other, or several.
    hub : str
        The site that holds the travelers' scans, where `mode` is ``hub`` or ``pairs``.
    travelers : tuple of str
        Public keys of the people who were scanned on all scanners, as in each site's travelers.tsv.
        Where each site has its own scans, they have to be named, and to have consented at each.
        At a hub the default is everybody who was scanned on several scanners; nobody of the hub is
        held out then.
    embedding_epochs : int
        Passes over the travelers' slices in step 1, of encoders and decoders.
    harmonization_epochs : int
        The same in step 2, of decoders alone.
    refresh : int
        Epochs after which the sites make a new consensus; at a hub, after which state is stored.
    learning_rate : float
        Of Adam. Default: the preset's.
    coupling : float
        Weight of the coupling in step 1, lambda 2. Published: 1.
    rising : float
        Share of step 1 in which the coupling grows to its weight, from a thousandth of it.
        Published: 0.
    slices : tuple of int, optional
        First and last axial slice of the template that units are trained on. Default: all.
    stride : int
        Where each site has its own scans: pixels between those of which a consensus is made. They
        are others in every turn; after ``stride ** 2`` turns of a step all were compared.
    sent : {"float64", "float32", "float16"}
        Precision of what it is made of.
    largest : float
        Values of embeddings and images beyond this, in units of the brain's mean, leave as this.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"train": {"batch": 4}},
        "small": {
            "train": {"batch": 2},
            "embedding_epochs": 80,
            "harmonization_epochs": 10,
            "learning_rate": 2e-3,
            "coupling": 200.0,
            "rising": 0.6,
        },
        "tiny": {
            "train": {"batch": 4, "precision": "float64"},
            "embedding_epochs": 2,
            "harmonization_epochs": 2,
            "refresh": 1,
            "learning_rate": 1e-3,
            "stride": 1,
            "sent": "float64",
        },
    }

    used: ClassVar[Collection[str]] = ("preset", "batch", "precision", "threads")
    """The rest says how networks are exchanged, and no unit is."""

    mode: Mode = "hub"
    hub: str = ""
    travelers: tuple[str, ...] = ()
    embedding_epochs: int = Field(default=100, ge=1)
    harmonization_epochs: int = Field(default=100, ge=1)
    refresh: int = Field(default=2, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0.0)
    coupling: float = Field(default=1.0, gt=0.0)
    rising: float = Field(default=0.0, ge=0.0, le=1.0)
    slices: tuple[int, int] | None = None
    stride: int = Field(default=4, ge=1, le=8)
    sent: Literal["float64", "float32", "float16"] = "float16"
    largest: float = Field(default=16.0, gt=0.0)

    @property
    def needed(self) -> tuple[str, ...]:
        """The travelers: what is learned of a scanner is learned of them."""
        return self.travelers

    @property
    def unread(self) -> tuple[str, ...]:
        """Options of the other modes; at a hub `refresh` is how often the state is stored."""
        return (*OTHERS[self.mode], *(() if self.mode == "sites" else ("refresh",)))

    @property
    def holder(self) -> str:
        """The hub: its people are there to be learned from."""
        return "" if self.mode == "sites" else self.hub

    @property
    def keyed(self) -> tuple[str, ...]:
        """The travelers, where there are sums of each."""
        return self.travelers if self.mode == "sites" else ()

    @property
    def everywhere(self) -> bool:
        """A consensus is one of all scanners."""
        return True

    @property
    def sizes(self) -> Sizes:
        """Of a unit."""
        return SIZES[self.train.preset]

    @field_validator("travelers", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"travelers is a list of keys, also of one: [{value}]")
        return value

    @field_validator("travelers")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a traveler is named twice")
        return tuple(sorted(value))

    @model_validator(mode="before")
    @classmethod
    def _nothing_unused(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what MISPEL cannot do, and options that are of another mode or training."""
        if not isinstance(value, Mapping) or is_saved(info):
            return value
        if value.get("to"):
            raise misfit(
                "to",
                "MISPEL has no target: everybody is brought to what the scanners have in common. "
                "Take 'to' out, or choose a method with a target",
            )
        given = value.get("train")
        if isinstance(given, Mapping) and is_dump(given):
            return value
        names = set(given) if isinstance(given, Mapping) else set()
        if unused := sorted(names - set(cls.used)):
            raise misfit(
                f"train.{unused[0]}",
                "it has no effect: units are trained where the scans are, and no gradient is "
                "exchanged. Take it out; see params.mode, params.embedding_epochs, "
                "params.harmonization_epochs and params.refresh",
            )
        mode = value.get("mode", "hub")
        others = OTHERS.get(mode, {}) if isinstance(mode, str) else {}
        if given_too := sorted(name for name in others if value.get(name)):
            name = given_too[0]
            raise misfit(name, f"{others[name]}, and mode is {mode}. Take '{name}' out")
        return value

    @model_validator(mode="after")
    def _fits(self) -> MispelParams:
        if self.slices is not None:
            first, last = self.slices
            if first < 0:
                raise misfit("slices", f"they are counted from 0, and the first is {first}")
            if first > last:
                raise misfit(
                    "slices",
                    f"they are the first and the last: the first, {first}, comes after the "
                    f"last, {last}. Did you mean [{last}, {first}]?",
                )
        if self.train.precision == "bfloat16":
            raise misfit("train.precision", "units are trained in float32 or float64")
        return self

"""MURD's options, and the sizes of its networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationInfo, model_validator

from motet.bids.checks import Place
from motet.config import is_saved, misfit
from motet.harmonizers._images.at_hand import are_images
from motet.harmonizers.murd.sizes import Sizes
from motet.images.cache import check_fits
from motet.images.images import Image
from motet.images.params import ImageParams
from motet.images.slices import Plane
from motet.training.options import TrainedParams, is_dump

SMALL: Mapping[str, Any] = {
    "content": 8,
    "blocks": 2,
    "style": 16,
    "style_widths": (8, 16, 32, 32),
    "noise": 8,
    "mapping": 32,
    "layers": 3,
    "critic": 16,
    "light": True,
}
TINY: Mapping[str, Any] = {
    "content": 2,
    "blocks": 1,
    "style": 3,
    "style_widths": (2, 3, 4),
    "noise": 2,
    "mapping": 4,
    "layers": 2,
    "critic": 2,
}


class MurdParams(TrainedParams, ImageParams):
    """Options of MURD.

    Parameters
    ----------
    to : str, optional
        Whose appearance everybody gets: a batch (``site``, ``site/batch``, or a batch name that is
        unique), or a scan of one, ``batch=sub-ref_T1w.nii.gz``, its brain mask beside it. Default:
        the mean style of all batches.
    appearance : int
        Which of a batch's appearances: 0 is the one in the middle, others are drawn. With the
        finished model: ``motet apply --to ash=2``.
    pixels : int
        Of a slice along an edge, a multiple of 16: the brain has to fit. Default: the preset's.
    planes : list of {"axial", "coronal", "sagittal"}
        Slices are cut across; of more than one, voxels get the mean.
    learning_rate : float
        Default: the preset's.
    style_rate : float
        The style generator's learning rate, as a share of it.
    critic_rate : float
        The discriminator's, as a share of it.
    noise : float
        Standard deviation of what is added to content codes in the training; 1 as published.
    adversary_steps : int
        Local mode: steps between exchanges of the discriminator and of the heads, at most; the
        largest divisor of ``train.local_steps`` that is not above it is taken.
    join_steps : int
        Steps in which a site that was not in the fit trains heads of its own, where ``to`` is one
        of its own scanners.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "train": {"mode": "exact", "batch": 1, "steps": 100_000},
            "pixels": 256,
            "join_steps": 5000,
        },
        "small": {
            "train": {"batch": 4, "steps": 800, "local_steps": 20, "server": "scaffold"},
            "pixels": 96,
            "learning_rate": 2e-3,
            "style_rate": 0.1,
            "critic_rate": 0.5,
            "noise": 0.0,
        },
        "tiny": {
            "train": {
                "batch": 8,
                "steps": 4,
                "local_steps": 2,
                "precision": "float64",
                "transfer": "float64",
            },
            "pixels": 32,
            "adversary_steps": 1,
            "join_steps": 2,
        },
    }

    retargets: ClassVar[bool] = True

    to: str | None = None
    appearance: int = Field(default=0, ge=0)
    pixels: int = Field(default=256, ge=32, le=512, multiple_of=16)
    planes: tuple[Plane, ...] = ("axial",)
    learning_rate: float = Field(default=1e-4, gt=0.0)
    style_rate: float = Field(default=0.01, gt=0.0, le=1.0)
    critic_rate: float = Field(default=1.0, gt=0.0, le=10.0)
    noise: float = Field(default=1.0, ge=0.0)
    adversary_steps: int = Field(default=10, ge=1)
    join_steps: int = Field(default=200, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _often_is_of_local_mode(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse an interval of exchanges where every step is one."""
        if not isinstance(value, Mapping) or is_saved(info) or "adversary_steps" not in value:
            return value
        given, chosen = cls._given(value)
        if chosen.get("mode") == "exact" and not is_dump(given):
            raise misfit(
                "adversary_steps",
                "it has no effect where train.mode is exact: gradients are summed in every step. "
                "Take it out, or set train: {mode: local}",
            )
        return value

    @model_validator(mode="after")
    def _planes(self) -> Self:
        if not self.planes or len(set(self.planes)) < len(self.planes):
            raise misfit("planes", "they are one or several of axial, coronal, sagittal, each once")
        return self

    @model_validator(mode="after")
    def _not_compiled(self) -> Self:
        if self.train.compile:
            raise misfit(
                "train.compile",
                "the discriminator's penalty needs gradients of gradients, which torch does not "
                "compile. Take it out",
            )
        return self

    def check(self, image: Image, *, place: Place, person: str) -> None:
        """Refuse a brain that slices of so many pixels cut, or hardly show."""
        check_fits(image, planes=self.planes, size=self.pixels, place=place, person=person)

    def recorded(self, to: str) -> str:
        """``BATCH=IMAGE`` without the image's folder."""
        batch, found, which = (word.strip() for word in to.partition("="))
        return f"{batch}={Path(which).name}" if found and are_images(which) else to

    @property
    def unread(self) -> tuple[str, ...]:
        """In exact mode every step is an exchange."""
        return ("adversary_steps",) if self.train.mode == "exact" else ()

    @property
    def sizes(self) -> Sizes:
        """Of the networks."""
        changed = {"paper": {}, "small": SMALL, "tiny": TINY}[self.train.preset]
        return Sizes(pixels=self.pixels, **changed)

    @model_validator(mode="after")
    def _often_fits(self, info: ValidationInfo) -> Self:
        steps, asked = self.train.local_steps, min(self.adversary_steps, self.train.local_steps)
        if self.train.mode == "local" and 2 * self.often < asked and not is_saved(info):
            raise misfit(
                "train.local_steps",
                f"{steps} can be divided by {self.often} and by nothing nearer to "
                f"adversary_steps: {asked}, after which the discriminator and the heads are "
                f"exchanged. Take local_steps: {asked * round(steps / asked)}, or adversary_steps: "
                f"{self.often}",
            )
        return self

    @property
    def often(self) -> int:
        """Steps between exchanges of the discriminator and of the heads, in local mode."""
        steps = self.train.local_steps
        return next(n for n in range(min(self.adversary_steps, steps), 0, -1) if steps % n == 0)

"""CALAMITI's options, and the sizes of its networks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from motet.bids.checks import Place
from motet.config import misfit
from motet.harmonizers._images.at_hand import are_images
from motet.harmonizers.calamiti.sizes import Sizes
from motet.images.cache import check_fits
from motet.images.images import Image
from motet.images.params import PairedParams
from motet.images.slices import PLANES, Plane
from motet.training.options import TrainedParams

HASH = re.compile(r"[0-9a-fA-F]{64}")
SMALL: Mapping[str, Any] = {
    "anatomy": 8,
    "style": 8,
    "anatomy_base": 4,
    "decoder_base": 4,
    "levels": 3,
    "head_widths": (8,),
    "style_widths": (16, 32, 32),
    "style_between": 32,
    "one_hot": False,
    "film": True,
    "within": True,
    "pooled": True,
    "mapping": 32,
    "shading": 6,
    "fusion_widths": (4, 8, 8),
    "fusion_adds": True,
}
TINY: Mapping[str, Any] = {
    "anatomy_base": 1,
    "decoder_base": 1,
    "levels": 1,
    "head_widths": (2,),
    "style_widths": (2, 2, 2, 2),
    "style_between": 2,
    "fusion_widths": (2, 2, 2),
}


class CalamitiParams(TrainedParams, PairedParams):
    """Options of CALAMITI.

    Parameters
    ----------
    to : str, optional
        The batch whose contrast everybody gets (``site``, ``site/batch``, or a batch name that is
        unique); it publishes its style code. Default: the mean style of all people of the fit.
    targets : list of str
        Other batches that publish their style codes, so that a finished model can bring anybody
        to them (``motet apply --to``).
    pixels : int
        Of a slice along an edge, a multiple of 16: the brain has to fit. Default: the preset's.
    planes : list of {"axial", "coronal", "sagittal"}
        Slices are cut across; of more than one, volumes are combined. Thin slabs: axial alone.
    fusion : {"median", "network"}
        What makes one volume of those of the planes: the voxel-wise median, or a 3-D network that
        is trained after the others.
    fusion_epochs : float
        Passes of that network over all volumes, ``train.steps`` at most.
    learning_rate : float
        Default: the preset's.
    augment : float
        How far random curves take the intensities that the anatomy encoder sees in the training
        from their own: standard deviation, in units of twice the white matter. 0 as published.
    augment_gain : float
        How far a smooth random gain takes them besides: standard deviation of its logarithm. It
        teaches the encoder to leave the scanner's shading out. 0 as published.
    augment_shading : float
        The same of a gain of a slice, the other of its volume and what is to be reconstructed: as
        if a scanner shaded like that. It teaches the style code to tell shading. 0 as published.
    anatomy_of : {"each", "both"}
        Of whose anatomy code an image is made: its own, or that of both contrasts, the mean of
        their logits (HACA3 fuses them so; Zuo et al. 2023). ``each`` as published.
    style_steps : int
        Steps, each of about 8 slices, in which a target fits its style code to its own people,
        beginning with the mean of theirs. The code leaves, and depends on single people more than a
        mean does. 0 as published: the mean.
    detail : float
        Share that is put back of the fine detail that the decoder's own image lacks of the scan:
        what the code's few channels lose, as far as it stands out from noise. 0 as published.
    vgg16 : str
        SHA-256 of a file of VGG16's weights (torchvision's state dict) that every site has in its
        folder as ``weights/vgg16.pth``: images are compared by its features, as published. Without
        it the differences of neighbours stand for them.
    join_steps : int
        Steps in which a site that was not in the fit adapts its heads.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "train": {"mode": "exact", "batch": 8, "epochs": 20.0, "steps": 1_000_000},
            "pixels": 288,
        },
        "small": {
            "train": {"batch": 4, "steps": 3000, "local_steps": 10, "server": "scaffold"},
            "pixels": 96,
            "learning_rate": 4e-3,
            "augment": 0.07,
            "fusion_epochs": 2.0,
            "augment_gain": 0.25,
            "augment_shading": 0.12,
            "anatomy_of": "both",
            "style_steps": 40,
            "detail": 1.0,
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
            "join_steps": 2,
        },
    }

    retargets: ClassVar[bool] = True

    to: str | None = None
    targets: tuple[str, ...] = ()
    pixels: int = Field(default=288, ge=32, le=512, multiple_of=16)
    planes: tuple[Plane, ...] = PLANES
    fusion: Literal["median", "network"] = "median"
    fusion_epochs: float = Field(default=20.0, gt=0.0)
    learning_rate: float = Field(default=4e-4, gt=0.0)
    augment: float = Field(default=0.0, ge=0.0, le=1.0)
    augment_gain: float = Field(default=0.0, ge=0.0, le=1.0)
    augment_shading: float = Field(default=0.0, ge=0.0, le=1.0)
    anatomy_of: Literal["each", "both"] = "each"
    style_steps: int = Field(default=0, ge=0, le=10_000)
    detail: float = Field(default=0.0, ge=0.0, le=1.0)
    vgg16: str = ""
    join_steps: int = Field(default=200, ge=1)

    @field_validator("vgg16")
    @classmethod
    def _a_hash(cls, value: str) -> str:
        if value and not HASH.fullmatch(value):
            raise ValueError(
                "vgg16 is the SHA-256 of the file of its weights, 64 hexadecimal digits: what "
                "'sha256sum weights/vgg16.pth' says"
            )
        return value.lower()

    @model_validator(mode="after")
    def _planes(self) -> Self:
        if not self.planes or len(set(self.planes)) < len(self.planes):
            raise misfit("planes", "they are one or several of axial, coronal, sagittal, each once")
        if self.fusion == "network" and len(self.planes) == 1:
            raise misfit(
                "fusion",
                f"network combines several planes, and planes is {self.planes[0]} alone. Name "
                "more planes, or take 'fusion' out",
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _the_target_publishes(cls, value: Any) -> Any:
        """Add the batch that everybody is brought to, to those that publish their codes."""
        if not isinstance(value, Mapping) or not value.get("to"):
            return value
        targets = value.get("targets") or ()
        if isinstance(targets, str) or value["to"] in targets:
            return value
        return {**value, "targets": [*targets, value["to"]]}

    def check(self, image: Image, *, place: Place, person: str) -> None:
        """Refuse a brain that slices of so many pixels cut, or hardly show."""
        check_fits(image, planes=self.planes, size=self.pixels, place=place, person=person)

    def recorded(self, to: str) -> str:
        """Images without their folders."""
        if not are_images(to):
            return to
        return ",".join(Path(word.strip()).name for word in to.split(","))

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The contrasts that sites have."""
        return (self.contrast, self.second) if self.second else (self.contrast,)

    @property
    def sizes(self) -> Sizes:
        """Of the networks."""
        changed = {"paper": {}, "small": SMALL, "tiny": TINY}[self.train.preset]
        return Sizes(pixels=self.pixels, **changed)

"""What a study says of the images it wants: the part of the parameters all image methods share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from pydantic import Field, field_validator, model_validator

from motet.harmonizer import Params

if TYPE_CHECKING:
    from motet.bids.checks import Place
    from motet.images.images import Image

ENTITY = re.compile(r"[a-zA-Z]+")
LABEL = re.compile(r"[a-zA-Z0-9+]*")


def _words(value: object) -> object:
    """YAML reads ``run: 1`` as a number."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("entities are names with labels: {acq: mprage}")
    words = {str(k): "" if v is None else str(v) for k, v in value.items()}
    for name, label in words.items():
        if not ENTITY.fullmatch(name) or not LABEL.fullmatch(label):
            raise ValueError(f"'{name}: {label}' is no BIDS entity")
    return words


class ImageParams(Params):
    """Options of methods that harmonize images.

    Parameters
    ----------
    contrast : str
        BIDS suffix of the images: ``T1w``, ``T2w``, ``PDw``, ``FLAIR`` …
    entities : dict of str to str
        Which image is meant where a person has several: ``{acq: mprage}``; an empty value means
        the image without this entity.
    unusual_contrast : bool
        Do not check that images look like their contrast: newborns, contrast agents.
    n4 : bool
        Correct the bias field first (N4, Tustison 2010; SimpleITK).
    spacing : float, optional
        Resample to cubic voxels of this edge first, mm (SimpleITK).
    """

    contrast: str = Field(default="T1w", pattern=r"^[a-zA-Z0-9]+$")
    entities: dict[str, str] = Field(default_factory=dict)
    unusual_contrast: bool = False
    n4: bool = False
    spacing: float | None = Field(default=None, gt=0.1, le=10.0)

    def check(self, image: Image, *, place: Place, person: str) -> None:
        """Refuse an image that the method cannot take; asked of every image before anything runs.

        Raises
        ------
        DataError
        """

    @field_validator("entities", mode="before")
    @classmethod
    def _entities(cls, value: object) -> object:
        return _words(value)


class PairedParams(ImageParams):
    """Options of methods that see two contrasts of every person.

    Parameters
    ----------
    second : str
        BIDS suffix of the second contrast, on the grid of the first; empty: the first alone.
    second_entities : dict of str to str
        Which image of the second contrast is meant.
    """

    second: str = Field(default="T2w", pattern=r"^[a-zA-Z0-9]*$")
    second_entities: dict[str, str] = Field(default_factory=dict)

    @field_validator("second_entities", mode="before")
    @classmethod
    def _second_words(cls, value: object) -> object:
        return _words(value)

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.second == self.contrast:
            raise ValueError(f"second is another contrast than {self.contrast}, or '' for none")
        return self


class RegisteredParams(ImageParams):
    """Options of methods that compare voxels of different people.

    Parameters
    ----------
    registered : bool
        Say that the images lie in one template space though their names have no ``space-``.
    coverage : float
        A voxel takes part where it lies within the brain masks of this share of the people.
    """

    registered: bool = False
    coverage: float = Field(default=1.0, gt=0.0, le=1.0)

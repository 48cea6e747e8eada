"""RAVEL's options."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from motet.harmonizers._images.control import Control, Units
from motet.images.params import RegisteredParams


class RavelParams(RegisteredParams):
    """Options of RAVEL.

    Parameters
    ----------
    components : int
        Patterns that are taken out (k). The paper's is 1.
    center : bool
        Take the mean image out of the control voxels first. Without it, as published, the first
        pattern is near a constant over people: a correction of the overall scale by CSF.
    white_stripe : bool
        Begin with White Stripe, as published; the result is in its units.
    control_share : float
        A voxel is a control voxel where it is CSF in this share of the people.
    control_mask : str
        Name of a mask of control voxels that every site has: ``masks/<name>.nii.gz`` in its
        folder. Without it they are found by the tissues of the images.
    control_at_most : int
        Control voxels that take part.
    by : {"gram", "subspace"}
        How their patterns are found: one large sum, or a few small ones.
    """

    models_covariates: ClassVar[bool] = True

    components: int = Field(default=1, ge=1, le=50)
    center: bool = False
    white_stripe: bool = True
    control_share: float = Field(default=1.0, gt=0.0, le=1.0)
    control_mask: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]*$")
    control_at_most: int = Field(default=3000, ge=10, le=20_000)
    by: Literal["gram", "subspace"] = "gram"

    @property
    def units(self) -> Units:
        """Intensities that voxels are compared in."""
        return Units(self.contrast, self.white_stripe)

    @property
    def control(self) -> Control:
        """The control voxels, and their patterns."""
        return Control(
            units=self.units,
            share=self.control_share,
            mask=self.control_mask,
            at_most=self.control_at_most,
            components=self.components,
            center=self.center,
            by=self.by,
        )

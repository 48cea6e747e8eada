"""DeepComBat's options, and the sizes of its networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from motet.harmonizers._linear.options import Adjust
from motet.training.options import TrainedParams

EPOCHS = 40.0
"""As published: 5 without the Kullback-Leibler term, 30 with it in cycles, 5 with all of it."""

FROM_RANDOM = 0.001
"""Learning rate of preset ``small`` where it is told to begin with random weights."""


class DeepComBatParams(TrainedParams):
    """Options of DeepComBat.

    Parameters
    ----------
    hidden : int
        Layers between input and latent space.
    dims : list of int, optional
        Widths of the hidden layers and of the latent space, decreasing; default: as published,
        from the number of features.
    kl : float
        Weight lambda of the Kullback-Leibler term.
    start : {"random", "moments"}
        First weights: random, as published, or learned from the features' covariance within and
        between batches, which leaves as one more sum and saves exchanges. The preset says which.
    learning_rate : float
        Default: the preset's. In local mode ``local_rate`` multiplies it, and the columns'.
    columns_rate : float, optional
        Learning rate of the batches' columns. Default: with ``small``, which begins with moments,
        0.003: networks begin near their end, columns at zero. Otherwise `learning_rate`.
    prior : {"parametric", "none"}
        Of ComBat on latents and on residuals.
    adjust : {"location_scale", "location"}
    latent_scale : float
        From 0 to 1: how much of the spread that a batch's people have in latent space is adjusted,
        as a power of ComBat's delta_star there. 1, as published, scales every batch to the spread
        of all; 0 moves batches and leaves their spread alone; with 0.5 a batch four times as wide
        as others stays twice as wide. With ``adjust: location`` nothing is scaled. The preset says
        how much: spread in latent space is scanners' in part, and in part that of whom a site has
        scanned.
    reference : str, optional
        A batch to which the others are brought. Without one they are brought to the mean of all
        batches.
    """

    models_covariates: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "train": {"mode": "exact", "batch": 64, "epochs": EPOCHS, "steps": 100_000},
            "learning_rate": 0.01,
            "start": "random",
        },
        "small": {
            "train": {
                "batch": 64,
                "epochs": 70.0,
                "steps": 20_000,
                "local_steps": 64,
                "server": "scaffold",
                "extrapolate": True,
                "moments": "kept",
            },
            "learning_rate": 0.0003,
            "columns_rate": 0.003,
            "start": "moments",
            "latent_scale": 0.5,
        },
        "tiny": {
            "train": {
                "batch": 8,
                "steps": 6,
                "local_steps": 3,
                "precision": "float64",
                "transfer": "float64",
            },
            "start": "random",
        },
    }

    hidden: int = Field(default=3, ge=1, le=10)
    dims: tuple[int, ...] = ()
    kl: float = Field(default=0.1, ge=0.0)
    start: Literal["random", "moments"] = "random"
    learning_rate: float = Field(default=0.01, gt=0.0)
    columns_rate: float | None = Field(default=None, gt=0.0)
    prior: Literal["parametric", "none"] = "parametric"
    adjust: Adjust = "location_scale"
    latent_scale: float = Field(default=1.0, ge=0.0, le=1.0)
    reference: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _rates(cls, value: Any) -> Any:
        """Random weights have further to go: the small rate is of networks that know moments."""
        if isinstance(value, Mapping) and value.get("start") == "random":
            given = value.get("train") or {}
            preset = getattr(given, "preset", None) or dict(given).get("preset", "small")
            if preset == "small":
                return {"learning_rate": FROM_RANDOM, "columns_rate": None, **value}
        return value

    @model_validator(mode="after")
    def _decreasing(self) -> Self:
        if len(self.dims) == 1:
            raise ValueError("dims are a hidden layer's width, or several, and the latent space's")
        pairs = zip(self.dims, self.dims[1:], strict=False)
        if self.dims and (min(self.dims) < 1 or any(a <= b for a, b in pairs)):
            raise ValueError("dims are positive and decrease from layer to layer")
        return self

    @property
    def unread(self) -> tuple[str, ...]:
        """Where batches are moved alone, no spread is adjusted."""
        return ("latent_scale",) if self.adjust == "location" else ()

    def widths(self, features: int) -> tuple[int, ...]:
        """Widths of the hidden layers and, last, of the latent space.

        Published: latent ``2^round(log2(p / 4))``, hidden layers in equal steps between p and it.
        """
        if self.dims:
            return self.dims
        if self.train.preset == "tiny":
            return (max(2, features), max(1, features // 2))
        latent = 2 ** round(math.log2(max(features, 4) / 4))
        H = self.hidden
        steps = [latent + (features - latent) * (H - i) // (H + 1) for i in range(H)]
        return (*steps, latent)

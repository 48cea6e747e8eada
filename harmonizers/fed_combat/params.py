"""Fed-ComBat's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from motet.harmonizers._linear.options import Adjust, Prior
from motet.training.options import TrainedParams


class FedComBatParams(TrainedParams):
    """Options of Fed-ComBat.

    Parameters
    ----------
    phi : {"mlp", "linear"}
        The function of the covariates: a network with tanh, or a line, with which it is ComBat.
    hidden : list of int
        Widths of the network's hidden layers.
    bias : bool
        Whether hidden layers have biases; the output never has one, batches do. Without, as
        published, the network is odd about the mean person: it cannot bend one way on both sides.
    learning_rate : float
        Of Adam. It falls to a hundredth, as a cosine, but in the preset ``paper``. A line that is
        trained in exact mode with everybody in every step needs none: there one step is enough,
        and where cells are missing a share f of them leaves f^steps of the way.
    prior : {"parametric", "nonparametric", "none"}
        ComBat's, of a batch, across features.
    adjust : {"location_scale", "location"}
    reference : str, optional
        A batch that stays untouched and to which the others are brought.
    """

    models_covariates: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "train": {"batch": 16, "local_steps": 20, "steps": 400},
            "learning_rate": 0.01,
            "bias": False,
        },
        "small": {
            "train": {
                "mode": "exact",
                "batch": 0,
                "steps": 100,
                "precision": "float64",
                "transfer": "float64",
            },
        },
        "tiny": {
            "train": {
                "batch": 0,
                "steps": 6,
                "local_steps": 3,
                "precision": "float64",
                "transfer": "float64",
            },
        },
    }

    phi: Literal["mlp", "linear"] = "mlp"
    hidden: tuple[int, ...] = (16,)
    bias: bool = True
    learning_rate: float = Field(default=0.02, gt=0.0)
    prior: Prior = "parametric"
    adjust: Adjust = "location_scale"
    reference: str | None = None

    @model_validator(mode="after")
    def _has_layers(self) -> Self:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError("hidden holds the width of every hidden layer, e.g. [16]")
        return self

    @property
    def newton(self) -> bool:
        """Whether a whole gradient is a whole step: of a line, on everybody's white covariates.

        Without those who validate, a share v, steps are up to 1 / (1 - v) times too long.
        """
        how = self.train
        everybody = how.mode == "exact" and not how.batch and how.validation < 0.5
        return self.phi == "linear" and everybody

"""Whether networks can be trained where a person said, asked before anything is sent."""

from __future__ import annotations

from typing import Literal

from motet.errors import TrainingError
from motet.harmonizer import Params
from motet.training.options import TrainedParams

Device = Literal["auto", "cpu", "cuda"]
"""``auto``: CUDA where there is some."""


def check_device(params: Params, device: str) -> None:
    """Refuse a device that is not there; of methods that train nothing, nothing is asked.

    Raises
    ------
    TrainingError
        When torch is not installed, or CUDA is asked for and is not there.
    """
    if not isinstance(params, TrainedParams):
        return
    try:
        from motet.training.device import device_named
    except ImportError as error:
        raise TrainingError(
            "The method trains networks, and torch is not installed here.",
            do="Install it with: pip install 'motet[deep]'.",
        ) from error
    device_named(device)

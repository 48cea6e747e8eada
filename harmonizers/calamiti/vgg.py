"""Features of VGG16 as a measure of likeness, where a study names the file of its weights.

Nothing is fetched: torchvision's state dict (``features.0.weight`` …) lies in every site's folder,
and the study says which file that is by its SHA-256. Read are the four convolutions up to relu2_2
(Simonyan and Zisserman 2015, arXiv:1409.1556, configuration D).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.site import Site

if TYPE_CHECKING:
    from torch import Tensor

FILE = Path("weights") / "vgg16.pth"
"""In a site's folder."""
SHAPES = {0: (64, 3, 3, 3), 2: (64, 64, 3, 3), 5: (128, 64, 3, 3), 7: (128, 128, 3, 3)}
"""Of the convolutions that are read, by their number in ``features``."""
HALVED = 5
"""The one before which the image is halved."""
NAME = "vgg16.{number}.{part}"


def check_weights(site: Site, params: CalamitiParams) -> None:
    """Refuse a file that is missing or another one, before anything is trained.

    Raises
    ------
    DataError
    """
    if not params.vgg16 or "vgg16" in site.scratch:
        return
    file = site.data.root / FILE
    place = Place(site=site.name, file=file)
    if not file.is_file():
        raise place.error(
            "The study compares images by VGG16 (params.vgg16), and the file of its weights is "
            "not there.",
            do="Put the study's file there, the same at every site; or take 'vgg16' out of the "
            "study: differences of neighbours then stand for its features.",
        )
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != params.vgg16:
        raise place.error(
            f"This is another file than the study's: its SHA-256 begins with {found[:12]}, that of "
            f"params.vgg16 with {params.vgg16[:12]}.",
            do="Put the study's file there, the same at every site.",
        )
    site.scratch["vgg16"] = file


def weights_of(site: Site, params: CalamitiParams) -> dict[str, NDArray[np.float32]]:
    """What losses see of it: empty where the study does not ask for it.

    Returns
    -------
    dict of str to ndarray
        ``vgg16.<number>.weight`` and ``.bias``. Slices are grey, so the first convolution's weights
        are summed over its three colours.

    Raises
    ------
    DataError
    """
    if not params.vgg16:
        return {}
    check_weights(site, params)
    import torch

    file: Path = site.scratch["vgg16"]
    try:
        # No code in the file is run: tensors alone are read.
        state = torch.load(file, map_location="cpu", weights_only=True)
        found = {
            NAME.format(number=number, part=part): _array(
                state[f"features.{number}.{part}"], shape if part == "weight" else shape[:1]
            )
            for number, shape in SHAPES.items()
            for part in ("weight", "bias")
        }
    except Exception as error:
        raise Place(site=site.name, file=file).error(
            "The study's file holds no weights of VGG16 as torchvision writes them: tensors "
            f"features.0.weight {SHAPES[0]} to features.7.bias ({SHAPES[7][0]},).",
            do="Name another file by its SHA-256 (params.vgg16); or take 'vgg16' out of the study.",
        ) from error
    first = NAME.format(number=0, part="weight")
    return found | {first: found[first].sum(axis=1, keepdims=True)}


def _array(tensor: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"a tensor of {tuple(tensor.shape)} is {shape} there")
    found: NDArray[np.float32] = tensor.float().numpy()
    return found


def is_there(batch: Mapping[str, Any]) -> bool:
    """Whether losses are given its weights."""
    return NAME.format(number=0, part="weight") in batch


def features(batch: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Features relu2_2 of grey images, (B, 1, h, w) -> (B, 128, h / 2, w / 2)."""
    from torch.nn import functional as nnf

    for number in SHAPES:
        if number == HALVED:
            x = nnf.max_pool2d(x, 2)
        weight, bias = (batch[NAME.format(number=number, part=p)] for p in ("weight", "bias"))
        x = nnf.relu(nnf.conv2d(x, weight, bias, padding=1))
    return x


def apart(batch: Mapping[str, Tensor], made: Tensor, x: Tensor) -> Tensor:
    """Mean absolute difference of the features of images, (B,)."""
    import torch

    with torch.no_grad():
        wanted = features(batch, x)
    return (features(batch, made) - wanted).abs().flatten(1).mean(dim=1)

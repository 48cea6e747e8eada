"""The proximal term of FedProx at a site: steps are pulled towards what all sites know."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

import numpy as np
import torch
from torch import Tensor

from motet.releases import Arrays
from motet.training.networks import Networks
from motet.training.phase import Train


def shared_point(train: Train, networks: Networks, shared: Arrays) -> dict[str, Tensor]:
    """Parameters of the groups that leave, as all sites know them."""
    found = {}
    for group in train.leaving:
        array = torch.from_numpy(np.array(shared[f"{train.name}.{group.name}"]))
        flat = networks.flat(group.name, array).to(networks.device, networks.dtype)
        found[group.name] = flat[: networks.count(group.name)]
    return found


def pull(
    networks: Networks,
    gradients: MutableMapping[str, list[Tensor]],
    base: Mapping[str, Tensor],
    mu: float,
) -> None:
    """Add the gradient of the proximal term, ``mu (w - w_shared)`` (Li et al. 2020, eq. 2)."""
    for name in set(gradients) & set(base):
        parts = gradients[name]
        away = networks.parts(name, mu * (networks.parameters(name) - base[name]))
        gradients[name] = [g + pull for g, pull in zip(parts, away, strict=True)]

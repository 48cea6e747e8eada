"""Units of a site as networks that are trained, and as arrays that are kept."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers.mispel.params import MispelParams
from motet.harmonizers.mispel.sizes import Sizes
from motet.site import draw

if TYPE_CHECKING:
    from motet.harmonizers.mispel.networks import Units
    from motet.training.networks import Networks

UNIT = "unit."
"""First part of the name of a unit's weights: encoder, then decoder."""


def built(sizes: Sizes, scanners: int, *, seed: int) -> Units:
    """Units with their first weights: the same of one seed, for every scanner and at every site."""
    import torch

    from motet.harmonizers.mispel.networks import Units
    from motet.training.networks import BUILDING

    first = int(draw(seed, "first weights", "units").integers(2**63))
    # torch's generator is everybody's: sites of one process build theirs one after another.
    with BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(first)
        return Units(sizes, scanners)


def networks(params: MispelParams, scanners: int, *, seed: int, device: str) -> Networks:
    """The same, with the parameters of each part in one vector."""
    import torch

    from motet.training.device import device_named
    from motet.training.networks import DTYPES, Networks
    from motet.training.phase import Group

    sizes = params.sizes
    groups = [
        Group(name=f"{part}{k}", size=size, keeper="local")
        for k in range(scanners)
        for part, size in (("encoder", sizes.encoder), ("decoder", sizes.maps))
    ]
    return Networks(
        built(sizes, scanners, seed=seed),
        groups,
        batches=1,
        dtype=DTYPES[params.train.precision],
        device=torch.device(device_named(device)),
    )


def load(nets: Networks, scanners: tuple[str, ...], kept: Mapping[str, Any]) -> None:
    """Take the units that are kept; others stay as they are."""
    for k, name in enumerate(scanners):
        vector = kept.get(f"{UNIT}{name}")
        if vector is not None:
            cut = len(vector) - nets.groups[f"decoder{k}"].size
            nets.load(f"encoder{k}", np.asarray(vector)[:cut])
            nets.load(f"decoder{k}", np.asarray(vector)[cut:])


def keep(
    nets: Networks, scanners: tuple[str, ...], kept: MutableMapping[str, NDArray[Any]], dtype: str
) -> None:
    """Keep the units, in the precision in which they are trained."""
    for k, name in enumerate(scanners):
        parts = [nets.vector(f"encoder{k}"), nets.vector(f"decoder{k}")]
        kept[f"{UNIT}{name}"] = np.concatenate(parts).astype(dtype)


def precision(params: MispelParams) -> str:
    """In which weights are trained, kept and sent."""
    return "float64" if params.train.precision == "float64" else "float32"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A finished unit: slices in, slices out.

    Parameters
    ----------
    params : MispelParams
    vector : (size,) float
    """

    params: MispelParams
    vector: NDArray[np.floating[Any]]

    def networks(self) -> Networks:
        """The networks, in the precision in which they were trained."""
        nets = networks(self.params, 1, seed=0, device="cpu")
        load(nets, ("own",), {f"{UNIT}own": self.vector})
        return nets

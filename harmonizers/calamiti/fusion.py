"""The training of the fusion network: volumes of three planes, decoded in their own style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motet.bids.folder import complete_folder
from motet.harmonizers._images.numbers import batch_numbers
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import of_fusion
from motet.harmonizers.calamiti.slices import seen_of
from motet.harmonizers.calamiti.styles import VOLUMES, Styles
from motet.harmonizers.calamiti.training import finished
from motet.harmonizers.calamiti.volumes import cube, of_styles
from motet.images.cache import brain_box, slices_home
from motet.images.images import Images
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site
from motet.store import load_array
from motet.training.phase import Group, Train, Update

if TYPE_CHECKING:
    from torch import Tensor

    from motet.harmonizers.calamiti.fusion_network import Fusing
    from motet.training.samples import Samples

NAME = "fusion"
ADAMW = {"name": "adamw", "lr": 7e-4}
"""Of the published code, which sees one volume a step."""


@dataclass(frozen=True)
class Fusion:
    """What the training calls.

    Parameters
    ----------
    params : CalamitiParams
    schema : Schema
    """

    params: CalamitiParams
    schema: Schema

    def step(self) -> Train:
        """The phase, after the networks and the styles: volumes are counted there."""
        params = self.params
        # It has no critic to warm up with. Its volumes are few: a step is one, as published. Short
        # trainings lose by control variates (docs/decisions/0024-calamiti.md).
        train = params.train
        server = "fedavg" if train.server == "scaffold" else train.server
        how = {"batch": 1, "epochs": params.fusion_epochs, "warm_up": 0, "server": server}
        return Train(
            name=NAME,
            build=self.build,
            samples=self.samples,
            groups=(Group(name=NAME, size=of_fusion(len(params.planes), params.sizes)),),
            updates=(
                Update(
                    name=NAME,
                    groups=(NAME,),
                    optimizer=ADAMW,
                    losses=self.losses,
                    weights={"reconstruction": 1.0},
                ),
            ),
            options=train.model_copy(update=how),
            validate=self.error,
            counted=VOLUMES,
        )

    def build(self, sizes: Mapping[str, int]) -> Fusing:
        """The network with its first weights."""
        from motet.harmonizers.calamiti.fusion_network import Fusing

        own = self.params.sizes
        return Fusing(len(self.params.planes), own.fusion_widths, adds=own.fusion_adds)

    def error(self, networks: Any, batch: Mapping[str, Tensor], draws: Any) -> Tensor:
        """Mean absolute error of every volume; within the brain, where norms are taken there."""
        x = batch["x"]
        apart: Tensor = (networks(batch["made"]) - x).abs().flatten(1)
        if not self.params.sizes.within:
            return apart.mean(dim=1)
        brain = (x > 0).flatten(1)
        return (apart * brain).sum(dim=1) / brain.sum(dim=1).clamp_min(1)

    def losses(
        self, networks: Any, batch: Mapping[str, Tensor], draws: Any
    ) -> Mapping[str, Tensor]:
        """The same as the one loss."""
        return {"reconstruction": self.error(networks, batch, draws)}

    def samples(self, site: Site, shared: Arrays) -> Samples:
        """Every contrast of the site's people: their volumes, and those decoded in each plane."""
        from motet.training.samples import Samples, numbered

        images: Images = site.data
        contrasts = len(self.params.contrasts)
        made, x = self._volumes(site, shared)
        parts = numbered(images.people, images.batch)[:, None] * contrasts + np.arange(contrasts)
        return Samples(
            arrays={"made": made, "x": x},
            people=np.repeat(images.people, contrasts),
            parts=parts.reshape(-1),
            batch=np.repeat(batch_numbers(images, site.schema), contrasts),
        )

    def _volumes(self, site: Site, shared: Arrays) -> Sequence[Any]:
        """(n, planes, p, p, p) decoded and (n, p, p, p) as they are, float32, memory-mapped."""
        images: Images = site.data
        networks = finished(self.params, self.schema.sizes, shared, site.device)
        theta, _ = Styles(self.params, self.schema).of_people(site, shared)
        count, edge = len(images) * len(self.params.contrasts), self.params.pixels
        shapes = {
            "made": (count, len(self.params.planes), *(edge,) * 3),
            "x": (count, *(edge,) * 3),
        }
        # What lies there was decoded by earlier networks.
        home = slices_home(site) / NAME
        with complete_folder(home, may_replace=lambda old: True) as folder:
            made, x = (
                np.lib.format.open_memmap(
                    folder / f"{name}.npy", mode="w+", dtype=np.dtype("<f4"), shape=shape
                )
                for name, shape in shapes.items()
            )
            at = 0
            for row, pair in enumerate(images.pairs()):
                named = zip(pair, self.params.contrasts, strict=True)
                seen = [seen_of(image, contrast) for image, contrast in named]
                inside = pair[0].mask[brain_box(pair[0])]
                own = [[code] for code in theta[row]]
                decoded = of_styles(networks, self.params, seen, inside, own)
                for one, (planes,) in zip(seen, decoded, strict=True):
                    made[at], x[at] = cube(planes, edge), cube(one[None], edge)[0]
                    at += 1
            made.flush()
            x.flush()
        return [load_array(home / f"{name}.npy", mapped=True) for name in shapes]

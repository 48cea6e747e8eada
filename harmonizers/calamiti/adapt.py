"""A site that was not in the fit adapts its two heads; decoder, trunks and critic stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.slices import samples
from motet.harmonizers.calamiti.training import HEADS, NAME, Training, train_phase
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site
from motet.training.moment import falling
from motet.training.phase import Update


@dataclass(frozen=True)
class Adapt:
    """The training of the heads, at the site alone.

    Parameters
    ----------
    params : CalamitiParams
    schema : Schema
    """

    params: CalamitiParams
    schema: Schema

    def train(self, site: Site, shared: Arrays) -> None:
        """Train the heads on the site's people, and keep them."""
        from motet.training.alone import train_alone

        train = train_phase(self.params)
        networks = train_alone(
            train,
            [self.update()],
            samples(site, self.params, shared),
            site,
            sizes=self.schema.sizes,
            first={group.name: shared[f"{NAME}.{group.name}"] for group in train.groups},
            steps=self.params.join_steps,
        )
        for name in HEADS:
            site.keep[f"{NAME}.{name}"] = networks.vector(name)

    def update(self) -> Update:
        """The one update: of the heads."""
        return replace(
            train_phase(self.params).update("generator"),
            name="heads",
            groups=HEADS,
            losses=Training(self.params).adapting,
            rate=falling,
            period=1,
            offset=0,
        )


def heads_of(keep: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The heads that a site adapted; empty where it did not."""
    return {name: np.asarray(keep[f"{NAME}.{name}"]) for name in HEADS if f"{NAME}.{name}" in keep}

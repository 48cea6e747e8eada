"""Style codes: of images, of scanners that want to be targets, and their mean over everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import ModelError, listed
from motet.harmonizers._images.at_hand import OR_MEAN
from motet.harmonizers._linear.options import named_batch
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import WHITE
from motet.harmonizers.calamiti.slices import cached, middle
from motet.harmonizers.calamiti.training import train_phase
from motet.phases import Sum
from motet.releases import Arrays, ArraySpec
from motet.scale import Bounds, Magnitudes
from motet.schema import Batch, Schema
from motet.site import Site

if TYPE_CHECKING:
    from motet.harmonizers.calamiti.networks import Calamiti

Float = NDArray[np.float64]
MOST = 16.0
"""No number of a style code is larger: the term that keeps codes near 0 leaves none near it."""
AT_ONCE = 32
"""Slices that pass through the networks at once."""
VOLUMES = "volumes"
"""Number of everybody's volumes, where a network is trained on them."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """How an image, a scanner, or everybody looks.

    Attributes
    ----------
    theta : (contrasts, codes) float64
        Of them the first ``style`` tell of contrast, the others of shading.
    white : (contrasts,) float64
        Intensity of white matter, native units.
    """

    theta: Float
    white: Float


def codes(networks: Calamiti, x: NDArray[np.floating], *, threads: int) -> Float:
    """Mean style code of slices, (n, contrasts, h, w) -> (contrasts, codes)."""
    import torch

    from motet.training.device import steady

    with torch.no_grad(), steady(threads):
        found = [
            networks.contrast(torch.from_numpy(np.array(part)).to(_dtype(networks)))[0]
            .mean(dim=0)
            .to("cpu", torch.float64)
            .numpy()
            for part in np.moveaxis(x, 1, 0)[:, :, None]
        ]
    return np.asarray(np.stack(found).clip(-MOST, MOST), dtype=np.float64)


def _dtype(networks: Calamiti) -> Any:
    return next(networks.parameters()).dtype


@dataclass(frozen=True)
class Styles:
    """Style codes of a site's images and their mean over everybody; whose codes are published.

    Parameters
    ----------
    params : CalamitiParams
    schema : Schema
    """

    params: CalamitiParams
    schema: Schema

    def step(self) -> Sum:
        """The phase of the mean over everybody."""
        contrasts, style = len(self.params.contrasts), self.params.sizes.codes
        theta = ArraySpec(
            name="theta",
            shape=(contrasts, style),
            meaning="sum of style codes over people, a contrast",
        )
        white = ArraySpec(
            name="white",
            shape=(contrasts,),
            meaning="sum of the intensities of white matter",
            least=0.0,
        )
        images = ArraySpec(
            name="images", shape=(), dtype="int64", least=0, meaning="number of images"
        )
        return Sum(
            name="style",
            arrays=(theta, white, images),
            at_site=self.send,
            at_coordinator=self.conclude,
            bounds=self.bounds,
        )

    @property
    def targets(self) -> tuple[Batch, ...]:
        """Batches that publish their codes."""
        named = [self._named(b) for b in self.params.targets]
        return tuple(dict.fromkeys(batch for batch in named if batch is not None))

    def _named(self, target: str) -> Batch | None:
        """A target, which the study names as everybody's or as one of others."""
        if target == self.params.to:
            return named_batch(target, self.schema, key="params.to", or_else=OR_MEAN)
        return named_batch(target, self.schema, key="params.targets")

    def of_people(self, site: Site, shared: Arrays) -> tuple[Float, Float]:
        """Codes (rows, contrasts, codes) and white matter (rows, contrasts) of a site's images."""
        from motet.training.networks import trained

        if "styles" not in site.scratch:
            train = train_phase(self.params)
            networks = trained(train, self.schema.sizes, shared)
            cache = cached(site, self.params)
            where = middle(cache, len(site.data))
            site.scratch["styles"] = np.stack(
                [
                    codes(
                        networks,
                        cache.x[first : first + count],
                        threads=self.params.train.threads,
                    )
                    for first, count in zip(where.first, where.count, strict=True)
                ]
            )
        found: Float = site.scratch["styles"]
        return found, cached(site, self.params).level * WHITE

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """Sums over the site's images."""
        theta, white = self.of_people(site, shared)
        return {
            "theta": theta.sum(axis=0),
            "white": white.sum(axis=0),
            "images": np.asarray(len(theta), dtype=np.int64),
        }

    def bounds(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sums exceed."""
        return {"theta": size.rows * MOST, "white": size.rows * size.voxels}

    def conclude(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Means over everybody."""
        count = float(sums["images"])
        found = {"theta": sums["theta"] / count, "white": sums["white"] / count}
        if self.params.fusion == "network":
            found[VOLUMES] = np.asarray(int(count) * len(self.params.contrasts), dtype=np.int64)
        return found

    def target(self, shared: Arrays) -> Style:
        """The style that everybody gets.

        Raises
        ------
        ModelError
            When the batch that is asked for did not publish its code.
        """
        named = named_batch(self.params.to, self.schema, key="params.to")
        if named is None:
            return Style(theta=shared["theta"], white=shared["white"])
        if named not in self.targets:
            known = [str(batch) for batch in self.targets]
            raise ModelError(
                f"'{named}' did not publish its style code.",
                do="Add it to params.targets and train again; or "
                + (f"choose one that did ({listed(known)}), or " if known else "")
                + "leave 'to' out for the mean of all.",
            )
        k = self.targets.index(named)
        return Style(theta=shared[f"theta.{k}"], white=shared[f"white.{k}"])

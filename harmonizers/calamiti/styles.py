"""Style codes: of images, of scanners that want to be targets, and their mean over everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motet.errors import DesignError, ModelError, listed
from motet.harmonizers._images.at_hand import OR_MEAN
from motet.harmonizers._linear.options import named_batch
from motet.harmonizers.calamiti.fitting import fitted
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import WHITE
from motet.harmonizers.calamiti.slices import cached, middle, of_scanner
from motet.harmonizers.calamiti.training import finished, train_phase
from motet.phases import Publish, Step, Sum, Who
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
    """The phases that tell of styles.

    Parameters
    ----------
    params : CalamitiParams
    schema : Schema
    """

    params: CalamitiParams
    schema: Schema

    def steps(self) -> Sequence[Step]:
        """The mean over everybody, then the codes of targets."""
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
        mean = Sum(
            name="style",
            arrays=(theta, white, images),
            at_site=self.send,
            at_coordinator=self.conclude,
            bounds=self.bounds,
        )
        return (mean, *(Target(self, batch).step() for batch in self.targets))

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


@dataclass(frozen=True)
class Target:
    """A batch that publishes its code.

    Parameters
    ----------
    styles : Styles
    batch : Batch
    """

    styles: Styles
    batch: Batch

    def step(self) -> Publish:
        """The phase."""
        contrasts, style = len(self.styles.params.contrasts), self.styles.params.sizes.codes
        return Publish(
            name=f"style-{self.number}",
            who=Who(site=self.batch.site),
            arrays=(
                ArraySpec(
                    name="theta",
                    shape=(contrasts, style),
                    meaning=f"style code of the people of {self.batch}, a contrast: "
                    + ("fitted to them" if self.styles.params.style_steps else "their mean"),
                ),
                ArraySpec(
                    name="white",
                    shape=(contrasts,),
                    least=0.0,
                    meaning=f"mean intensity of white matter of the people of {self.batch}",
                ),
            ),
            at_site=self.send,
            at_coordinator=self.conclude,
        )

    @property
    def number(self) -> int:
        """Of the batch among the targets, in the study's order: no order of sites changes it."""
        return self.styles.targets.index(self.batch)

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """The style code of the batch's people, and the mean of their white matter."""
        theta, white = self.styles.of_people(site, shared)
        own = site.data.batch == self.batch.name
        if not own.any():
            raise DesignError(
                f"'{self.batch}' has nobody in the fit, so it has no style.",
                do="Hold out fewer people, or name another target.",
            )
        mean = theta[own].mean(axis=0)
        return {
            "theta": self._fitted(mean, own, site, shared)
            if self.styles.params.style_steps
            else mean,
            "white": white[own].mean(axis=0),
        }

    def _fitted(self, mean: Float, own: NDArray[np.bool_], site: Site, shared: Arrays) -> Float:
        """The code, fitted to the slices of images, (rows,) bool, of the batch."""
        seen = of_scanner(site, self.styles.params)
        found = fitted(
            finished(self.styles.params, self.styles.schema.sizes, shared, site.device),
            self.styles.params,
            seen,
            np.flatnonzero(own[cached(site, self.styles.params).row]),
            seed=site.seed,
            theta=mean,
        )
        return found.clip(-MOST, MOST)

    def conclude(self, published: Arrays, shared: Arrays) -> Arrays:
        """What all sites take from it."""
        return {
            f"{name}.{self.number}": published[f"{self.batch.site}/{name}"]
            for name in ("theta", "white")
        }

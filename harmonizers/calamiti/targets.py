"""Scanners that publish the style code that others are brought to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.errors import DesignError
from motet.harmonizers.calamiti.fitting import SLICES, fitted
from motet.harmonizers.calamiti.slices import cached, samples
from motet.harmonizers.calamiti.styles import MOST, Styles
from motet.harmonizers.calamiti.training import finished
from motet.phases import Publish, Who
from motet.releases import Arrays, ArraySpec
from motet.schema import Batch
from motet.site import Site

Float = NDArray[np.float64]


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
                ArraySpec(name="theta", shape=(contrasts, style), meaning=self._meaning),
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
    def _meaning(self) -> str:
        said = f"style code of the people of {self.batch}, a contrast: their mean"
        steps = self.styles.params.style_steps
        if not steps:
            return said
        return said + f", or fitted to about {steps * SLICES} of their slices where that is nearer"

    @property
    def number(self) -> int:
        """Of the batch among the targets, in the study's order: no order of sites changes it."""
        return self.styles.targets.index(self.batch)

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """The style code of the batch's people, and the mean of their white matter.

        Raises
        ------
        DesignError
            When nobody of the batch is in the fit.
        """
        theta, white = self.styles.of_people(site, shared)
        own = site.data.batch == self.batch.name
        if not own.any():
            raise DesignError(
                f"'{self.batch}' has nobody in the fit, so it has no style.",
                do="Hold out fewer people, or name another target.",
            )
        code = theta[own].mean(axis=0)
        if self.styles.params.style_steps:
            code = self._fitted(code, own, site, shared)
        return {"theta": code, "white": white[own].mean(axis=0)}

    def _fitted(self, mean: Float, own: NDArray[np.bool_], site: Site, shared: Arrays) -> Float:
        """The code, fitted to the slices of images, (rows,) bool, of the batch."""
        params = self.styles.params
        found = fitted(
            finished(params, self.styles.schema.sizes, shared, site.device),
            params,
            samples(site, params, shared),
            np.flatnonzero(own[cached(site, params).row]),
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

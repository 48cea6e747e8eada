"""The training of CALAMITI's networks as a phase: an update of the critic, one of all else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.slices import samples
from motet.releases import Arrays
from motet.site import Site
from motet.training.moment import falling
from motet.training.phase import Group, Train, Update

if TYPE_CHECKING:
    from torch import Tensor

    from motet.harmonizers.calamiti.losses import Losses
    from motet.harmonizers.calamiti.networks import Calamiti
    from motet.training.samples import Samples

NAME = "networks"
CRITIC = "critic"
HEADS = ("anatomy_head", "style_head")
COOLING = 2e-4
WEIGHTS = {
    "reconstruction": 4.0,
    "gradient": 4e-2,
    "anatomy": 3e-2,
    "kl": 1e-7,
    "adversarial": 3e-2,
}
"""Of the published code; ``gradient`` has the weight of VGG's term, for which it stands."""
ALIKE = 5e-3
"""Of ``anatomy`` in the preset ``small``: with more, codes are alike before they say anything."""
PERIODS, SMALL_PERIODS = (2, 2), (4, 1)
"""Steps from one update of critic and of generator to the next; as published they take turns."""
CRITIC_WEIGHTS = {"joint": 3e-2, "marginal": 3e-2}


@dataclass(frozen=True)
class Training:
    """What the training calls.

    Parameters
    ----------
    params : CalamitiParams
    """

    params: CalamitiParams

    @property
    def periods(self) -> tuple[int, int]:
        """Steps from one update of critic and of generator to the next."""
        return SMALL_PERIODS if self.params.train.preset == "small" else PERIODS

    @property
    def _losses(self) -> Losses:
        from motet.harmonizers.calamiti.losses import Losses

        return Losses(
            cooling=COOLING,
            period=self.periods[1],
            augment=self.params.augment,
            augment_gain=self.params.augment_gain,
            augment_shading=self.params.augment_shading,
        )

    def build(self, sizes: Mapping[str, int]) -> Calamiti:
        """The networks with their first weights."""
        from motet.harmonizers.calamiti.networks import Calamiti

        return Calamiti(self.params.sizes)

    def samples(self, site: Site, shared: Arrays) -> Samples:
        """Every slice of the site's people."""
        return samples(site, self.params, shared)

    def critic(
        self, networks: Any, batch: Mapping[str, Tensor], draws: Any
    ) -> Mapping[str, Tensor]:
        """Own labels told from labels of anybody."""
        return self._losses.critic(networks, batch, draws)

    def generator(
        self, networks: Any, batch: Mapping[str, Tensor], draws: Any
    ) -> Mapping[str, Tensor]:
        """All other losses."""
        return self._losses.generator(networks, batch, draws)

    def adapting(
        self, networks: Any, batch: Mapping[str, Tensor], draws: Any
    ) -> Mapping[str, Tensor]:
        """The generator's where the critic never saw the samples' scanner."""
        return self._losses.adapting(networks, batch, draws)

    def error(self, networks: Any, batch: Mapping[str, Tensor], draws: Any) -> Tensor:
        """Absolute error of every pair."""
        return self._losses.error(networks, batch, draws)


def train_phase(params: CalamitiParams) -> Train:
    """The phase."""
    training = Training(params)
    groups = tuple(Group(name=name, size=size) for name, size in params.sizes.groups.items())
    adam = {"name": "adam", "lr": params.learning_rate}
    rate = None if params.train.preset == "paper" else falling
    weights = WEIGHTS if params.train.preset != "small" else {**WEIGHTS, "anatomy": ALIKE}
    critic, generator = training.periods
    if params.vgg16:
        weights = {"perceptual" if n == "gradient" else n: w for n, w in weights.items()}
    return Train(
        name=NAME,
        build=training.build,
        samples=training.samples,
        groups=groups,
        updates=(
            Update(
                name=CRITIC,
                groups=(CRITIC,),
                optimizer=adam,
                losses=training.critic,
                weights=CRITIC_WEIGHTS,
                rate=rate,
                period=critic,
            ),
            Update(
                name="generator",
                groups=tuple(group.name for group in groups if group.name != CRITIC),
                optimizer=adam,
                losses=training.generator,
                weights=weights,
                rate=rate,
                period=generator,
                offset=generator - 1,
            ),
        ),
        options=params.train,
        validate=training.error,
        counted="slices",
    )


def finished(
    params: CalamitiParams, sizes: Mapping[str, int], shared: Arrays, device: str = "cpu"
) -> Calamiti:
    """The trained networks on a device, in the precision of the training."""
    from motet.training.device import device_named
    from motet.training.networks import DTYPES, trained

    networks: Calamiti = trained(train_phase(params), sizes, shared)
    return networks.to(device_named(device), DTYPES[params.train.precision])

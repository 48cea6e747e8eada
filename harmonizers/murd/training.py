"""The training of MURD's networks as a phase: discriminator, then all else, in every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet.harmonizers._images.numbers import label_order
from motet.harmonizers.murd.params import MurdParams
from motet.harmonizers.murd.sizes import BATCHED
from motet.harmonizers.murd.slices import samples
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site
from motet.training.moment import Moment
from motet.training.phase import Group, Train, Update

if TYPE_CHECKING:
    from torch import Tensor

    from motet.harmonizers.murd.losses import Losses
    from motet.harmonizers.murd.networks import Murd
    from motet.training.samples import Samples

NAME = "networks"
CRITIC = ("critic", "critic_heads")
STYLE_GENERATOR = ("style_generator", "code_heads")
WEIGHTS = {
    "adversarial": 1.0,
    "content": 10.0,
    "style": 10.0,
    "identity": 10.0,
    "cycle": 10.0,
    "gradient": 1.0,
    "alignment": 0.01,
    "diversity": -1.0,
}
"""Of the paper; the released code adds the diversity that it means to subtract."""
LITTLE = -0.1
"""Of ``diversity`` in the preset ``small``: a scanner's scans are much alike."""
CRITIC_WEIGHTS = {"real": 1.0, "fake": 1.0, "r1": 1.0}
EMA = {"paper": 0.999, "small": 0.98, "tiny": 0.9}


def fading(moment: Moment) -> Mapping[str, float]:
    """Diversity counts less and less."""
    return {"diversity": 1.0 - moment.done}


def constant_then_falling(moment: Moment) -> float:
    """The learning rate: constant in the first half, then linearly to 0."""
    return min(1.0, 2.0 * (1.0 - moment.done))


@dataclass(frozen=True)
class Training:
    """What the training calls.

    Parameters
    ----------
    params : MurdParams
    schema : Schema
    """

    params: MurdParams
    schema: Schema

    @property
    def _losses(self) -> Losses:
        from motet.harmonizers.murd.losses import Losses

        return Losses(noise=self.params.noise, within=self.params.sizes.light)

    def build(self, sizes: Mapping[str, int]) -> Murd:
        """The networks with their first weights."""
        from motet.harmonizers.murd.networks import Murd

        return Murd(self.params.sizes, label_order(self.schema).tolist())

    def samples(self, site: Site, shared: Arrays) -> Samples:
        """Every slice of the site's people, with its neighbours."""
        return samples(site, self.params, self.schema)

    def critic(
        self, networks: Any, batch: Mapping[str, Tensor], draws: Any
    ) -> Mapping[str, Tensor]:
        """Real slices told from made ones."""
        return self._losses.critic(networks, batch, draws)

    def generator(
        self, networks: Any, batch: Mapping[str, Tensor], draws: Any
    ) -> Mapping[str, Tensor]:
        """All other losses."""
        return self._losses.generator(networks, batch, draws)

    def error(self, networks: Any, batch: Mapping[str, Tensor], draws: Any) -> Tensor:
        """Absolute error of slices made of their own content and style."""
        return self._losses.error(networks, batch, draws)


def train_phase(params: MurdParams, schema: Schema) -> Train:
    """The phase."""
    training = Training(params, schema)
    often, ema = {*CRITIC, *BATCHED}, EMA[params.train.preset]
    groups = tuple(
        Group(
            name=name,
            size=size,
            keeper="owned" if name in BATCHED else "shared",
            # Fakes for a batch are made by all sites: without them a head would see fakes of its
            # owner's anatomy alone, and teach other sites' generators nothing.
            summed=name in BATCHED,
            every=params.often if name in often else 0,
            ema=0.0 if name in CRITIC else ema,
        )
        for name, size in params.sizes.groups.items()
    )
    adam = {"name": "adam", "lr": params.learning_rate, "betas": (0.0, 0.99)}
    slower = dict.fromkeys(STYLE_GENERATOR, params.style_rate * params.learning_rate)
    return Train(
        name=NAME,
        build=training.build,
        samples=training.samples,
        groups=groups,
        updates=(
            Update(
                name="critic",
                groups=CRITIC,
                optimizer={**adam, "lr": params.critic_rate * params.learning_rate},
                losses=training.critic,
                weights=CRITIC_WEIGHTS,
                rate=constant_then_falling,
            ),
            Update(
                name="generator",
                groups=tuple(group.name for group in groups if group.name not in CRITIC),
                optimizer={**adam, "lr_of": slower},
                losses=training.generator,
                weights={**WEIGHTS, "diversity": LITTLE}
                if params.train.preset == "small"
                else WEIGHTS,
                weighing=fading,
                rate=constant_then_falling,
            ),
        ),
        options=params.train,
        validate=training.error,
        counted="slices",
        strata="batch",
    )

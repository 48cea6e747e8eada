"""MURD (Liu, Yap): shared trunks, one linear head a batch, critic then generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from kernel.plans import Declared, Networks, declared
from motet.harmonizer import Card, Params
from motet.phases import Local, Publish, Step, Who
from motet.releases import Arrays, ArraySpec
from motet.schema import Schema
from motet.site import Site
from motet.training.moment import Moment
from motet.training.options import TrainOptions
from motet.training.phase import Group, Train, Update

TRUNKS = {
    "content_encoder": 5_390_848,
    "style_encoder": 4_878_688,
    "style_generator": 84_736,
    "generator": 8_416_963,
    "discriminator": 659_648,
}
HEADS = {"style_encoder_heads": 32_832, "style_generator_heads": 8_256, "discriminator_heads": 257}
CRITIC = ("discriminator", "discriminator_heads")
STYLE_GENERATOR = ("style_generator", "style_generator_heads")
WEIGHTS = {
    "adversarial": 1.0,
    "content_consistency": 10.0,
    "style_consistency": 10.0,
    "identity": 10.0,
    "cycle": 10.0,
    "gradient": 1.0,
    "content_alignment": 0.01,
    "style_diversity": -1.0,
}


class MurdParams(Params):
    """Options of MURD. ``largest_update`` bounds an entry of a summed gradient."""

    steps: int = 100_000
    decay_from: int = 50_000
    batch_size: int = 1
    style_dim: int = 64
    largest_update: float = 1e4
    join_steps: int = 5_000


@dataclass(frozen=True)
class Losses:
    """The losses, one value a sample; draws of z and of the target batch know no site."""

    params: MurdParams

    def critic(self, networks: Any, batch: Any, draws: Any) -> Mapping[str, Any]:
        """``softplus(-D_i(x))``, ``softplus(D_j(G(c, F_j(z))))``, ``|grad_x D_i(x)|^2``."""
        declared()

    def generator(self, networks: Any, batch: Any, draws: Any) -> Mapping[str, Any]:
        """All terms of WEIGHTS; ``style_diversity`` fades to 0 over ``params.steps``."""
        declared()

    def weighing(self, moment: Moment) -> Mapping[str, float]:
        """``style_diversity`` fades to 0."""
        declared()

    def rate(self, moment: Moment) -> float:
        """Linear to 0 from ``params.decay_from`` on."""
        declared()

    def samples(self, site: Site, shared: Arrays) -> Any:
        declared()

    def identity(self, networks: Any, batch: Any, draws: Any) -> Any:
        """``|x - G(E_c(x), E_s(x))|`` of every sample."""
        declared()

    def send_style(self, site: Site, shared: Arrays) -> Arrays:
        """Mean code over people; rows of other sites' batches are 0."""
        declared()


@dataclass(frozen=True)
class NewHeads:
    """A head in each of three networks, trained at the new site with the trunks frozen."""

    groups: tuple[str, ...]
    weights: Mapping[str, float]
    steps: int
    lr: float

    def train(self, site: Site, shared: Arrays) -> None:
        declared()


class Murd(Declared):
    """Separates content from style; translates a slice into any batch's style."""

    name: ClassVar[str] = "murd"
    params_type: ClassVar[type[Params]] = MurdParams
    card: ClassVar[Card] = Card(
        title="MURD",
        summary="Adversarial disentanglement of anatomy and scanner style.",
        data="images",
        papers=("Liu and Yap 2024, Communications Engineering 3:6",),
        leaves="summed gradients of all networks; mean style codes of sites that want it",
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Training, then the style codes of sites that offer to be targets."""
        losses = Losses(params)
        adam = {
            "name": "adam",
            "betas": (0.0, 0.99),
            "lr": 1e-4,
        }
        counts = TRUNKS | HEADS
        generator = tuple(name for name in counts if name not in CRITIC)
        train = Train(
            name="networks",
            build=Networks(counts).build,
            samples=losses.samples,
            groups=tuple(
                Group(
                    name=name,
                    size=count,
                    keeper="owned" if name in HEADS else "shared",
                    ema=0.0 if name in CRITIC else 0.999,
                )
                for name, count in counts.items()
            ),
            updates=(
                Update(
                    name="critic",
                    groups=CRITIC,
                    optimizer=adam,
                    losses=losses.critic,
                    weights={"real": 1.0, "fake": 1.0, "r1": 1.0},
                ),
                Update(
                    name="generator",
                    groups=generator,
                    optimizer={**adam, "lr_of": dict.fromkeys(STYLE_GENERATOR, 1e-6)},
                    losses=losses.generator,
                    weights=WEIGHTS,
                    weighing=losses.weighing,
                    rate=losses.rate,
                ),
            ),
            options=TrainOptions(
                mode="exact",
                batch=params.batch_size,
                steps=params.steps,
                validation=0.1,
                validate_every=1_000,
            ),
            validate=losses.identity,
            strata="batch",
            largest=params.largest_update,
        )
        codes = ArraySpec(
            name="style",
            shape=("batches", params.style_dim),
            dtype="float32",
            meaning="mean style code over people, a row for every batch of the site",
        )
        offers = Who(having="target")
        return (
            train,
            Publish(name="styles", who=offers, arrays=(codes,), at_site=losses.send_style),
        )

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """The new batch's heads, 41,345 parameters, trained alone; the trunks are frozen."""
        heads = NewHeads(groups=tuple(HEADS), weights=WEIGHTS, steps=params.join_steps, lr=1e-4)
        return (Local(name="heads", at_site=heads.train),)

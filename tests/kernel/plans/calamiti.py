"""CALAMITI (Zuo 2021): contrast-free anatomy beta, contrast theta, decoder, critic of beta.

The critic runs on even steps, the rest on odd ones. The heads of both encoders stay at their site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from kernel.plans import Declared, Networks, count, declared
from motet.harmonizer import Card, Params
from motet.phases import Local, Publish, Step, Sum, Who
from motet.releases import Arrays, ArraySpec
from motet.schema import Schema
from motet.site import Site
from motet.training.options import TrainOptions
from motet.training.phase import Group, Train, Update

PARAMETERS = {
    "beta_encoder": 2_165_232,
    "beta_head": 27_988,
    "theta_encoder": 427_552,
    "theta_heads": 49_860,
    "decoder": 8_642_225,
    "beta_discriminator": 84_721,
}
HEADS = ("beta_head", "theta_heads")
CRITIC = ("beta_discriminator",)
FUSION = 19_713
ADAM = {"name": "adam", "lr": 4e-4, "betas": (0.9, 0.999)}
ADAMW = {"name": "adamw", "lr": 7e-4}
LABELS = ArraySpec(
    name="slices_of_label",
    shape=("batches", 2),
    dtype="int64",
    least=0,
    meaning="training slices of every batch and contrast: frequencies of the critic's labels",
)
CRITIC_WEIGHTS = {"joint": 3e-2, "marginal": 3e-2}
WEIGHTS = {"rec": 4.0, "beta_sim": 3e-2, "kl": 1e-7, "adversarial": 3e-2, "gradient": 4e-2}
JOIN_WEIGHTS = {"rec": 4.0, "beta_sim": 3e-2, "kl": 1e-7, "marginal": 3e-2}


class CalamitiParams(Params):
    """Options of CALAMITI. ``largest_update`` bounds an entry of a summed gradient."""

    steps: int = 40_000
    batch_size: int = 8
    fusion_steps: int = 4_000
    theta_dim: int = 2
    temperature: tuple[float, float] = (0.5, 2e-4)
    largest_update: float = 1e4
    join_steps: int = 2_000


@dataclass(frozen=True)
class Fit:
    """The callables of CALAMITI; losses give one value a slice pair."""

    params: CalamitiParams

    def keep_slices(self, site: Site, shared: Arrays) -> None:
        """Scale by the white-matter peak, joint foreground, slices of three orientations."""
        declared()

    def critic(self, networks: Any, batch: Any, draws: Any) -> Mapping[str, Any]:
        """BCE of own labels to 1, of labels drawn from the label frequencies to 0."""
        declared()

    def generator(self, networks: Any, batch: Any, draws: Any) -> Mapping[str, Any]:
        declared()

    def fuse(self, networks: Any, batch: Any, draws: Any) -> Mapping[str, Any]:
        declared()

    def send_labels(self, site: Site, shared: Arrays) -> Arrays:
        declared()

    def samples(self, site: Site, shared: Arrays) -> Any:
        declared()

    def error(self, networks: Any, batch: Any, draws: Any) -> Any:
        """``|x_hat - x|`` of every sample."""
        declared()

    def take(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Label frequencies, or the mean error."""
        declared()

    def send_theta(self, site: Site, shared: Arrays) -> Arrays:
        declared()

    def keep_reconstructions(self, site: Site, shared: Arrays) -> None:
        """Three self-reconstructions of every volume: what the fusion network reads."""
        declared()


@dataclass(frozen=True)
class Adapt:
    """An unseen site trains its heads; decoder, trunks and critic are frozen."""

    trained: tuple[str, ...]
    weights: Mapping[str, float]
    steps: int
    lr: float = 4e-4
    batch_size: int = 8

    def train(self, site: Site, shared: Arrays) -> None:
        """``marginal``: the frozen critic on the new site's beta, which has no label yet."""
        declared()


class Calamiti(Declared):
    """Disentangles anatomy from contrast; decodes anatomy with a target's contrast."""

    name: ClassVar[str] = "calamiti"
    params_type: ClassVar[type[Params]] = CalamitiParams
    card: ClassVar[Card] = Card(
        title="CALAMITI",
        summary="Contrast of a target site by disentangled anatomy and contrast.",
        data="images",
        papers=("Zuo et al. 2021, NeuroImage 243:118569",),
        leaves="summed gradients of trunks, decoder and critic; theta of sites that want it",
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Label frequencies, networks, theta of willing targets, fusion network."""
        fit = Fit(params)
        groups = tuple(
            Group(name=g, size=count, keeper="local" if g in HEADS else "shared")
            for g, count in PARAMETERS.items()
        )
        d, largest = params.theta_dim, params.largest_update
        how = TrainOptions(
            mode="exact",
            batch=params.batch_size,
            steps=params.steps,
            validation=0.1,
            validate_every=500,
        )

        critic = Update(
            name="critic",
            groups=CRITIC,
            optimizer=ADAM,
            losses=fit.critic,
            weights=CRITIC_WEIGHTS,
            period=2,
        )
        rest = Update(
            name="generator",
            groups=tuple(name for name in PARAMETERS if name not in CRITIC),
            optimizer=ADAM,
            losses=fit.generator,
            weights=WEIGHTS,
            period=2,
            offset=1,
        )
        fuse = Update(
            name="fuse", groups=("fusion",), optimizer=ADAMW, losses=fit.fuse, weights={"rec": 1.0}
        )
        theta = (
            ArraySpec(name="theta", shape=(2, d), meaning="mean of mu over people, a contrast"),
            ArraySpec(name="theta_cov", shape=(2, d, d), meaning="covariance of mu over people"),
            count("people"),
        )
        return (
            Local(name="slices", on="all", at_site=fit.keep_slices),
            Sum(name="labels", arrays=(LABELS,), at_site=fit.send_labels, at_coordinator=fit.take),
            Train(
                name="networks",
                build=Networks(PARAMETERS).build,
                samples=fit.samples,
                groups=groups,
                updates=(critic, rest),
                options=how,
                validate=fit.error,
                largest=largest,
            ),
            Publish(name="theta", who=Who(having="target"), arrays=theta, at_site=fit.send_theta),
            Local(name="reconstructions", on="all", at_site=fit.keep_reconstructions),
            Train(
                name="fusion",
                build=Networks({"fusion": FUSION}).build,
                samples=fit.samples,
                groups=(Group(name="fusion", size=FUSION),),
                updates=(fuse,),
                options=how.model_copy(update={"batch": 1, "steps": params.fusion_steps}),
                validate=fit.error,
                largest=largest,
            ),
        )

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Train both heads against frozen decoder and critic. Nothing leaves."""
        adapt = Adapt(trained=HEADS, weights=JOIN_WEIGHTS, steps=params.join_steps)
        return (Local(name="heads", at_site=adapt.train),)

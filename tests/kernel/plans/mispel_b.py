"""MISPEL (Torbati 2023), mode B: every site holds its own scan of each traveler.

A unit (encoder, six decoder weights) never leaves its site. A traveler's consensus embedding is
summed over the sites that scanned this person and read by them alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from kernel.plans import Declared, declared, summed
from motet.harmonizer import Card, Params
from motet.phases import Agree, Local, Publish, Repeat, Step, Sum, Who
from motet.releases import Arrays, ArraySpec
from motet.schema import Schema
from motet.site import Site

HOLDERS = Who(holders="traveler")
MAPS = 6
UNIT = {"encoder": 518_854, "decoder": MAPS}
COUPLED = {"reconstruction": 0.3, "coupling": 1.0}
HARMONIZED = {"reconstruction": 1.0, "harmonization": 4.0}
SCANNERS = ArraySpec(
    name="scanners", shape=(), dtype="int64", bound=1, support="person", meaning="1: scanned here"
)


class MispelParams(Params):
    """Options of mode B. Every ``refresh`` epochs the consensus is summed anew.

    Embeddings are clipped to ``largest`` before they leave, on every ``stride``-th pixel.
    A ``newcomer`` gets the consensus from its ``sponsor``, sealed.
    """

    slices: int = 181
    height: int = 192
    width: int = 224
    stride: int = 1
    largest: float = 64.0
    epochs: tuple[int, int] = (100, 100)
    refresh: int = 5
    tolerance: float = 1e-3
    sponsor: str = ""
    newcomer: str = ""


def anatomy(name: str, meaning: str, params: MispelParams) -> ArraySpec:
    """One consenting person's maps over all slices: embedding, image or signs."""
    pixels = (params.height // params.stride, params.width // params.stride)
    maps = () if name in ("y", "sign") else (MAPS,)
    return ArraySpec(
        name=name,
        shape=(params.slices, *maps, *pixels),
        dtype="int32" if name == "sign" else "float32",
        support="person",
        least=0 if name == "y" else None,
        bound=1 if name == "sign" else params.largest,
        meaning=meaning,
    )


@dataclass(frozen=True)
class Unit:
    """A site's unit in one of the two steps; Adam, aligned batches of slices."""

    trained: tuple[str, ...]
    weights: Mapping[str, float]
    epochs: int
    lr: float = 1e-4
    batch: int = 4
    parameters: Mapping[str, int] = field(default_factory=lambda: dict(UNIT))

    def train(self, site: Site, shared: Arrays) -> None:
        """``epochs`` over the site's travelers, their consensus held fixed."""
        declared()


@dataclass(frozen=True)
class Consensus:
    """Sums over the sites that scanned a traveler, one set of arrays a traveler."""

    params: MispelParams

    def send_embedding(self, site: Site, shared: Arrays) -> Arrays:
        declared()

    def send_harmonized(self, site: Site, shared: Arrays) -> Arrays:
        declared()

    def send_signs(self, site: Site, shared: Arrays) -> Arrays:
        """``sign(y_i - ybar)`` with the mean of the phase before."""
        declared()

    def mean_at_holders(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Divide by the number of scanners; the coordinator cannot."""
        declared()

    def send_loss(self, site: Site, shared: Arrays) -> Arrays:
        declared()

    def take_loss(self, sums: Arrays, shared: Arrays) -> Arrays:
        declared()

    def settled(self, shared: Arrays) -> bool:
        declared()

    def send_consensus(self, site: Site, shared: Arrays) -> Arrays:
        declared()


class MispelB(Declared):
    """Units whose embeddings of the same person agree."""

    name: ClassVar[str] = "mispel_b"
    params_type: ClassVar[type[Params]] = MispelParams
    card: ClassVar[Card] = Card(
        title="MISPEL, mode B",
        summary="Harmonizes by people scanned at several sites; units stay at their sites.",
        data="images",
        papers=("Torbati et al. 2023, Medical Image Analysis 89:102926",),
        leaves="full-resolution embeddings of consenting travelers, to those who scanned them",
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Coupled encoders; then, encoders frozen, the six weights of every decoder."""
        c = Consensus(params)
        turns = [-(-epochs // params.refresh) for epochs in params.epochs]

        def of_traveler(name: str, send: Any, array: ArraySpec) -> Sum:
            return Sum(
                name=name,
                who=HOLDERS,
                key="traveler",
                read_by="holders",
                arrays=(array, SCANNERS),
                at_site=send,
                at_coordinator=c.mean_at_holders,
            )

        def loss(name: str) -> Sum:
            return Sum(
                name=f"{name}_loss",
                arrays=summed(name, "slices", "the loss, summed over slices"),
                at_site=c.send_loss,
                at_coordinator=c.take_loss,
            )

        embedding = anatomy("z", "a traveler's embedding: the scan can be read back", params)
        image = anatomy("y", "a traveler's harmonized scan", params)
        signs = anatomy("sign", "1, 0 or -1: harmonized pixel above, at or below the mean", params)
        units = Unit(trained=tuple(UNIT), weights=COUPLED, epochs=params.refresh)
        decoders = Unit(trained=("decoder",), weights=HARMONIZED, epochs=params.refresh)
        return (
            Agree(name="travelers", equal=("template",), union=("travelers",)),
            Repeat(
                name="coupling_rounds",
                at_most=turns[0],
                until=c.settled,
                steps=(
                    Local(name="units", who=HOLDERS, at_site=units.train),
                    of_traveler("embeddings", c.send_embedding, embedding),
                    loss("coupling"),
                ),
            ),
            Repeat(
                name="harmonization_rounds",
                at_most=turns[1],
                until=c.settled,
                steps=(
                    of_traveler("values", c.send_harmonized, image),
                    of_traveler("signs", c.send_signs, signs),
                    Local(name="decoders", who=HOLDERS, at_site=decoders.train),
                    loss("harmonization"),
                ),
            ),
        )

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Fit the newcomer's unit to the frozen consensus of the travelers it scanned."""
        unit = Unit(trained=tuple(UNIT), weights=COUPLED, epochs=sum(params.epochs))
        fit = Local(name="unit", at_site=unit.train)
        if not params.sponsor:
            return (fit,)
        consensus = anatomy("consensus", "mean embedding of a traveler over scanners", params)
        release = Publish(
            name="consensus",
            who=Who(site=params.sponsor),
            to=Who(site=params.newcomer),
            sealed="recipient",
            arrays=(consensus,),
            at_site=Consensus(params).send_consensus,
        )
        return release, fit

"""MISPEL as a harmonizer (Torbati et al. 2023): plan, join, site model, apply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motet.errors import ModelError
from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers._images.each import each
from motet.harmonizers.mispel.adapt import Adapt
from motet.harmonizers.mispel.consensus import Consensus
from motet.harmonizers.mispel.params import MispelParams
from motet.harmonizers.mispel.scanners import Scanners
from motet.harmonizers.mispel.training import Training
from motet.harmonizers.mispel.units import UNIT, Unit, precision
from motet.harmonizers.mispel.volumes import Made
from motet.images.images import Image, Images
from motet.phases import Local, Publish, Repeat, Step, Who
from motet.releases import Arrays, ArraySpec
from motet.schema import Batch, Schema
from motet.site import Site


class MispelHarmonizer:
    """One small network a scanner; people who were scanned on all bring the scanners together."""

    name: ClassVar[str] = "mispel"
    params_type: ClassVar[type[Params]] = MispelParams
    card: ClassVar[Card] = Card(
        title="MISPEL",
        summary="A network a scanner, learned from travelers; everybody meets in between.",
        data="registered images",
        papers=(
            "Torbati et al. 2023, Medical Image Analysis 89:102926, "
            "doi:10.1016/j.media.2023.102926",
        ),
        leaves="with a hub, each site's own unit, sealed to it; where each site has its own scans, "
        "the anatomy of consenting travelers, masked, to the sites that scanned them",
        limits=(
            "needs travelers: people who were scanned on every scanner",
            "intensities come out in parts of the brain's mean; there is no target scanner",
            "a scanner that came later needs scans of the travelers",
        ),
    )

    def twins(self, params: Any, schema: Schema) -> Mapping[Batch, Batch]:
        """At a hub: what it calls a scanner, and whose that is."""
        if params.mode == "sites":
            return {}
        scanners = Scanners(params, schema)
        return {Batch(params.hub, scanners.stands_for(b)): b for b in scanners.others}

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Units at a hub, then sealed; or units at every site, with a consensus now and then."""
        Scanners(params, schema).check()
        training = Training(params, schema)
        if params.mode != "sites":
            return _at_hub(training, Scanners(params, schema))
        consensus = Consensus(params, schema)
        return (
            Repeat(
                name="embedding",
                at_most=training.turns("embedding"),
                steps=(consensus.embeddings(), Local(name="embed", at_site=training.embed)),
            ),
            Repeat(
                name="harmonization",
                at_most=training.turns("harmonization"),
                steps=(
                    consensus.values(),
                    consensus.signs(),
                    Local(name="decode", at_site=training.harmonize),
                ),
            ),
        )

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """A scanner that came later is fitted to what its site kept of travelers, or refused."""
        return (Local(name="unit", at_site=Adapt(params, schema).train),)

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """The unit of every scanner; and what is kept of travelers, for scanners to come."""
        scanners = Scanners(params, site.schema)
        kept = site.keep
        arrays: dict[str, NDArray[Any]] = {}
        for batch in site.batches:
            names = [f"{UNIT}{batch}", f"{params.hub}/{UNIT}{batch}"]
            if not any(name in kept for name in names):
                names = [f"{UNIT}{scanners.unit_of(batch, site.name)}"]
            found = [kept[name] for name in names if name in kept]
            if not found:
                raise ModelError(
                    f"There is no unit of scanner '{batch}'.",
                    do="Run the study again with this scanner.",
                    site=site.name,
                )
            arrays[f"{UNIT}{batch}"] = np.asarray(found[0])
        for at, array in kept.items():
            if at.startswith(("consensus/", "values/", "losses.")):
                arrays[at] = np.asarray(array)
        return SiteModel(site=site.name, batches=site.batches, arrays=arrays)

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Every image through its scanner's unit, slice by slice; in parts of the brain's mean."""
        units = {
            batch: Made(Unit(params=params, vector=model.arrays[f"{UNIT}{batch}"]))
            for batch in data.batches
        }

        def change(row: int, image: Image) -> NDArray[Any]:
            unit = units[str(data.batch[row])]
            return unit.harmonized(image, site=data.site, scan=data.scan(row), who=data.who(row))

        return each(data, change)


@dataclass(frozen=True)
class Hand:
    """What a hub gives one site: the units of its scanners.

    Parameters
    ----------
    params : MispelParams
    schema : Schema
    to : str
    """

    params: MispelParams
    schema: Schema
    to: str

    @property
    def _units(self) -> dict[str, str]:
        """What a unit is called there -> what the hub calls it."""
        scanners = Scanners(self.params, self.schema)
        own = [batch for batch in scanners.others if batch.site == self.to]
        return {f"{UNIT}{batch.name}": f"{UNIT}{scanners.stands_for(batch)}" for batch in own}

    def step(self) -> Publish:
        """The phase."""
        return Publish(
            name=f"units_of_{self.to}",
            who=Who(site=self.params.hub),
            to=Who(site=self.to),
            sealed="recipient",
            of=self.params.travelers,
            arrays=tuple(
                ArraySpec(
                    name=name,
                    shape=(self.params.sizes.unit,),
                    dtype=precision(self.params),
                    meaning=f"weights of the unit of scanner {name.removeprefix(UNIT)} of "
                    f"{self.to}, learned from the travelers",
                )
                for name in self._units
            ),
            at_site=self.send,
        )

    def send(self, site: Site, shared: Arrays) -> Arrays:
        """The units, as the hub keeps them."""
        return {name: np.array(site.keep[kept]) for name, kept in self._units.items()}


def _at_hub(training: Training, scanners: Scanners) -> Sequence[Step]:
    who, params = Who(site=scanners.hub), training.params
    sites = sorted({b.site for b in scanners.others} & set(training.schema.sites))
    return (
        Repeat(
            name="embedding",
            at_most=training.turns("embedding"),
            steps=(Local(name="embed", who=who, at_site=training.embed),),
        ),
        Repeat(
            name="harmonization",
            at_most=training.turns("harmonization"),
            steps=(Local(name="decode", who=who, at_site=training.harmonize),),
        ),
        *(Hand(params, training.schema, site).step() for site in sites),
    )

"""MURD as a harmonizer: plan, join, site model, apply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.errors import DesignError
from motet.harmonizer import Card, Params, SiteModel
from motet.harmonizers.murd.adapt import Adapt
from motet.harmonizers.murd.counts import Counts
from motet.harmonizers.murd.params import MurdParams
from motet.harmonizers.murd.slices import check_mask
from motet.harmonizers.murd.targets import OWN, check_in_a_study, networks_of, target_of
from motet.harmonizers.murd.training import train_phase
from motet.harmonizers.murd.volumes import Restyler
from motet.images.images import Images
from motet.phases import Local, Step
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site


class MurdHarmonizer:
    """Takes slices apart into content and style, without pairs, and makes them in another style."""

    name: ClassVar[str] = "murd"
    params_type: ClassVar[type[Params]] = MurdParams
    card: ClassVar[Card] = Card(
        title="MURD",
        summary="Content and style disentangled by adversarial networks; any scanner's style.",
        data="images",
        papers=(
            "Liu and Yap 2024, Communications Engineering 3:6, doi:10.1038/s44172-023-00140-w",
        ),
        leaves="numbers of slices; every scanner's mean brightness; what the networks "
        "changed by, or their gradients, with a head of three networks for every scanner",
        limits=(
            "one contrast, two scanners or more",
            "adversarial: what scanners' people do not have in common may be made up",
            "needs a brain mask, and three slices in a row",
        ),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Slices and levels, then networks.

        Raises
        ------
        DesignError
            When there is one batch.
        StudyFileError
            When the target is none of them.
        """
        if len(schema.batches) < 2:
            raise DesignError(
                "MURD tells scanners apart, and the study has one.",
                do="Add a site, or name the column that holds the scanner: params.batch.",
            )
        check_in_a_study(params, schema)
        return (*Counts(params).steps(), train_phase(params, schema))

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Heads of its own, where a site's own scanner is the target. Nothing leaves."""
        return (Local(name="heads", at_site=Adapt(params, schema).train),)

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """The heads of a site that trained some; of others nothing."""
        own = {name: array for name, array in site.keep.items() if name.startswith(f"{OWN}.")}
        return SiteModel(site=site.name, batches=site.batches, arrays=own)

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Make every image in the target's style, (1, x, y, z)."""
        networks = networks_of(params, schema, shared, {})
        target = target_of(params, schema, shared, model, networks)
        restyler = Restyler(networks=networks, params=params, target=target)
        for row in range(len(data)):
            scan, person = data.scan(row), data.who(row)
            place = Place(site=data.site, file=scan.found.file)
            check_mask(scan, place, person)
            made = restyler.restyled(data.image(row), place=place, person=person)
            yield slice(row, row + 1), made[None]

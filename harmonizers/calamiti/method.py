"""CALAMITI as a harmonizer: plan, join, site model, apply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motet.bids.checks import Place
from motet.harmonizer import Card, Findings, Params, SiteModel
from motet.harmonizers._images.at_hand import are_images
from motet.harmonizers.calamiti.adapt import Adapt, heads_of
from motet.harmonizers.calamiti.findings import findings
from motet.harmonizers.calamiti.fusion import Fusion
from motet.harmonizers.calamiti.labels import Labels
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.reference import style_of
from motet.harmonizers.calamiti.styles import Styles
from motet.harmonizers.calamiti.targets import Target
from motet.harmonizers.calamiti.training import NAME, finished, train_phase
from motet.harmonizers.calamiti.volumes import Restyler
from motet.images.images import Images
from motet.phases import Local, Step
from motet.releases import Arrays
from motet.schema import Schema
from motet.site import Site


class CalamitiHarmonizer:
    """Takes an image apart into anatomy and contrast, and decodes it with another contrast."""

    name: ClassVar[str] = "calamiti"
    params_type: ClassVar[type[Params]] = CalamitiParams
    card: ClassVar[Card] = Card(
        title="CALAMITI",
        summary="Anatomy and contrast disentangled by networks; any site's contrast on any brain.",
        data="images",
        papers=("Zuo et al. 2021, NeuroImage 243:118569, doi:10.1016/j.neuroimage.2021.118569",),
        leaves="numbers of slices; what the networks changed by, or their gradients; sums of style "
        "codes and of white matter's intensity; of scanners that are targets the style code (a "
        "mean, or fitted to their people) and the mean intensity of white matter",
        limits=(
            "T1w and T2w of everybody on one grid, or T1w alone with second: ''",
            "detail beyond the anatomy code is lost, but for the share that is put back",
            "needs a brain mask",
        ),
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Label frequencies, networks, style codes; then the network that combines planes."""
        styles = Styles(params, schema)
        return (
            Labels(params, schema).step(),
            train_phase(params),
            styles.step(),
            *(Target(styles, batch).step() for batch in styles.targets),
            *((Fusion(params, schema).step(),) if params.fusion == "network" else ()),
        )

    def join(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Both heads are adapted at the site. Nothing leaves."""
        return (Local(name="heads", at_site=Adapt(params, schema).train),)

    def site_model(self, params: Any, site: Site, shared: Arrays) -> SiteModel:
        """The heads of a site that adapted them; of others nothing."""
        return SiteModel(site=site.name, batches=site.batches, arrays=heads_of(site.keep))

    def findings(self, params: Any, schema: Schema, shared: Arrays) -> Findings:
        """Style codes, and what the networks were trained with."""
        return findings(params, schema, shared)

    def apply(
        self, params: Any, data: Images, model: SiteModel, shared: Arrays, schema: Schema
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Decode anatomy with the target's style: (1, x, y, z), or (1, 2, x, y, z) of two."""
        restyler = _restyler(params, model, shared, schema)
        for row, pair in enumerate(data.pairs()):
            place = Place(site=data.site, file=data.scan(row).found.file)
            made = restyler.restyled(pair, place=place, person=data.who(row))
            yield slice(row, row + 1), made[0][None] if len(made) == 1 else np.stack(made)[None]


def _restyler(params: Any, model: SiteModel, shared: Arrays, schema: Schema) -> Restyler:
    """The networks as this site has them, and the style that it brings people to."""
    from motet.training.networks import DTYPES, trained

    own = {f"{NAME}.{name}": head for name, head in model.arrays.items()}
    networks = finished(params, schema.sizes, {**shared, **own})
    fusion = None
    if params.fusion == "network":
        fusion = trained(Fusion(params, schema).step(), schema.sizes, shared)
        fusion = fusion.to(DTYPES[params.train.precision])
    if params.to and are_images(params.to):
        target = style_of(params.to, params, networks)
    else:
        target = Styles(params, schema).target(shared)
    return Restyler(networks=networks, params=params, target=target, fusion=fusion)

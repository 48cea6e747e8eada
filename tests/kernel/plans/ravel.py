"""RAVEL (Fortin 2016) from sums: control mask, subspace iteration, loadings in chunks.

Rows of V are the voxels of the template's brain mask, columns are people, split over sites. Vc are
the rows in the control mask, Z the first k right singular vectors of Vc, W the covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, ClassVar

from kernel.plans import Declared, count, declared
from motet.harmonizer import Card, Params
from motet.phases import Agree, Local, Repeat, Step, Sum
from motet.releases import Arrays, ArraySpec, Size
from motet.schema import Schema
from motet.site import Site


class RavelParams(Params):
    """Options of RAVEL.

    ``voxels`` counts the template's brain mask; ``clip`` bounds White-Striped intensities and
    ``most_people`` the people of a site: both make the public bounds of the sums.
    """

    voxels: int = 1_900_000
    control_at_most: int = 50_000
    control_share: float = 1.0
    components: int = 1
    oversample: int = 5
    center: bool = False
    iterations: int = 8
    tolerance: float = 1e-12
    chunk: int = 100_000
    clip: float = 20.0
    most_people: int = 10_000


@dataclass(frozen=True)
class Fit:
    """The callables of a RAVEL fit."""

    params: RavelParams

    def white_stripe(self, site: Site, shared: Arrays) -> None:
        """Normalize every image by its white stripe, clip, keep V on the site's disk."""
        declared()

    def send_control(self, site: Site, shared: Arrays) -> Arrays:
        declared()

    def take_control(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Voxels that are CSF in ``floor(control_share n)`` people."""
        declared()

    def send_mean(self, site: Site, shared: Arrays) -> Arrays:
        declared()

    def take_mean(self, sums: Arrays, shared: Arrays) -> Arrays:
        declared()

    def send_product(self, site: Site, shared: Arrays) -> Arrays:
        """``Vc_s (Vc_s' Q)``; the first Q is drawn from the seed."""
        declared()

    def take_product(self, sums: Arrays, shared: Arrays) -> Arrays:
        """QR; Q, the singular values, and how far the projector moved."""
        declared()

    def settled(self, shared: Arrays) -> bool:
        declared()

    def keep_scores(self, site: Site, shared: Arrays) -> None:
        """``Z_s = Vc_s' U / S``, one row a person: it stays."""
        declared()

    def send_gram(self, site: Site, shared: Arrays) -> Arrays:
        declared()

    def take_gram(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Rank check of D = [Z, W]; its inverse Gram matrix; the first chunk's number."""
        declared()

    def send_loadings(self, site: Site, shared: Arrays) -> Arrays:
        """D'V' of one chunk; the last is filled up with zeros."""
        declared()

    def take_loadings(self, sums: Arrays, shared: Arrays) -> Arrays:
        """gamma and the mean image of the chunk; the next chunk's number."""
        declared()


class Ravel(Declared):
    """Removes the k leading patterns of control voxels from all voxels."""

    name: ClassVar[str] = "ravel"
    params_type: ClassVar[type[Params]] = RavelParams
    card: ClassVar[Card] = Card(
        title="RAVEL",
        summary="Removes patterns of technical variation seen in cerebrospinal fluid.",
        data="images",
        papers=("Fortin et al. 2016, NeuroImage 132:198",),
        leaves="sums over people: a count image, loading images, a mean image",
    )

    def plan(self, params: Any, schema: Schema) -> Sequence[Step]:
        """Mask, singular vectors, scores, loadings."""
        fit, k = Fit(params), params.components
        c, n = params.clip, params.most_people
        control = ArraySpec(
            name="control_people",
            shape=(params.voxels,),
            dtype="int32",
            least=0,
            bound=n,
            moved_by_one_person=sqrt(params.voxels),
            meaning="people in whom the voxel is cerebrospinal fluid",
        )
        product = ArraySpec(
            name="vvq",
            shape=("control_voxels", k + params.oversample),
            bound=n * c**2 * sqrt(params.control_at_most),
            meaning="Vc Vc' Q: control intensities of all people projected on the basis",
        )
        mean = ArraySpec(
            name="sum_control",
            shape=("control_voxels",),
            bound=n * c,
            moved_by_one_person=c * sqrt(params.control_at_most),
            meaning="sum over people of the control voxels",
        )
        gram = (
            ArraySpec(name="zz", shape=(k, k), bound=1.0, meaning="products of scores"),
            ArraySpec(
                name="zw", shape=(k, "q"), support="cell", meaning="scores times covariate columns"
            ),
            ArraySpec(
                name="ww", shape=("q", "q"), support="cell", meaning="products of covariate columns"
            ),
        )
        loadings = (
            ArraySpec(
                name="zv",
                shape=(k, params.chunk),
                bound=c * sqrt(n),
                meaning="scores times intensities: loading images, unscaled",
            ),
            ArraySpec(
                name="wv",
                shape=("q", params.chunk),
                support="cell",
                meaning="covariate columns times intensities",
            ),
            ArraySpec(
                name="sum_v",
                shape=(params.chunk,),
                bound=n * c,
                moved_by_one_person=c * sqrt(params.chunk),
                meaning="sum over people of the intensities: the mean image, times n",
            ),
        )
        centring = Sum(
            name="mean", arrays=(mean,), at_site=fit.send_mean, at_coordinator=fit.take_mean
        )
        subspace = Sum(
            name="subspace",
            arrays=(product,),
            at_site=fit.send_product,
            at_coordinator=fit.take_product,
        )
        chunk = Sum(
            name="loadings",
            arrays=loadings,
            at_site=fit.send_loadings,
            at_coordinator=fit.take_loadings,
        )
        return (
            Agree(name="template", equal=("template", "brain_mask")),
            Local(name="white_stripe", at_site=fit.white_stripe),
            Sum(
                name="control_mask",
                arrays=(count("people"), control),
                at_site=fit.send_control,
                at_coordinator=fit.take_control,
                sets=(Size(name="control_voxels", at_most=params.control_at_most),),
            ),
            *([centring] if params.center else ()),
            Repeat(
                name="iterations", steps=(subspace,), at_most=params.iterations, until=fit.settled
            ),
            Local(name="scores", at_site=fit.keep_scores),
            Sum(name="gram", arrays=gram, at_site=fit.send_gram, at_coordinator=fit.take_gram),
            Repeat(name="chunks", steps=(chunk,), at_most=ceil(params.voxels / params.chunk)),
        )

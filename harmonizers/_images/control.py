"""Control voxels, where no biology is expected, and the patterns that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motet.errors import DesignError
from motet.harmonizers._images.each import rescaled
from motet.harmonizers._images.white_stripe import stripe
from motet.images.images import Image, Images, replace_data
from motet.images.tissues import order_of, segment
from motet.images.voxels import Voxels, voxels_of
from motet.phases import Repeat, Step, Sum
from motet.releases import Arrays, ArraySpec, Size
from motet.scale import UNITS, Bounds, Magnitudes
from motet.site import Site, draw

Float = NDArray[np.float64]
OVERSAMPLE = 5
"""Directions iterated beyond those that are wanted: they make the wanted ones settle."""

UNSETTLED = 1e-7
"""How far the patterns may still move in the last turn."""

IMAGES = ArraySpec(name="images", shape=(), dtype="int64", least=0, meaning="number of images")


@dataclass(frozen=True)
class Units:
    """Intensities that voxels are compared in.

    Parameters
    ----------
    contrast : str
    white_stripe : bool
        In units of each image's white stripe; else as they are.
    """

    contrast: str
    white_stripe: bool

    def largest(self, size: Magnitudes) -> float:
        """What no voxel exceeds in these units."""
        return UNITS if self.white_stripe else size.voxels

    def change(self, image: Image) -> Image:
        """The image in these units."""
        if not self.white_stripe:
            return image
        mean, spread = stripe(image, self.contrast, 0.05)
        return replace_data(image, rescaled(image, mean, spread))

    def voxels(self, images: Images, places: NDArray[np.integer]) -> Voxels:
        """These voxels of all images as a table."""
        named = "white stripe" if self.white_stripe else ""
        return voxels_of(images, places, change=self.change, named=named)


@dataclass(frozen=True)
class Control:
    """Where control voxels are, and their leading patterns over people.

    Vc holds the control voxels of everybody, one column a person. Its left singular vectors U and
    values S are shared; a person's scores ``z = S^-1 U' v`` stay at the site.

    Parameters
    ----------
    units : Units
    share : float
        A voxel is a control voxel where it is CSF in this share of the people.
    mask : str
        Name of a mask that every site has in its folder ``masks/``: its voxels are the control
        voxels. Empty: they are found by the tissues of the images.
    at_most : int
        Control voxels that take part: evenly spaced ones, where there are more.
    components : int
    center : bool
        Whether the mean over people is taken out first.
    by : {"gram", "subspace"}
        ``gram``: the products of all control voxels, (c, c), and its eigenvectors. ``subspace``:
        iterated products with a few directions, (c, k + 5) each.
    iterations : int
        At most, of ``subspace``.
    tolerance : float
        The iteration ends when the subspace moves less.
    """

    units: Units
    share: float
    mask: str
    at_most: int
    components: int
    center: bool
    by: Literal["gram", "subspace"] = "gram"
    iterations: int = 50
    tolerance: float = 1e-11

    def steps(self) -> tuple[Step, ...]:
        """The phases: control mask, mean, patterns."""
        mask = Sum(
            name="control_mask",
            arrays=(
                IMAGES,
                ArraySpec(
                    name="csf",
                    shape=("voxels",),
                    dtype="int32",
                    least=0,
                    meaning="images in which the voxel is cerebrospinal fluid",
                ),
            ),
            at_site=self.send_csf,
            at_coordinator=self.take_csf,
            sets=(Size(name="control", at_most=self.at_most),),
        )
        mean = Sum(
            name="control_mean",
            arrays=(
                IMAGES,
                ArraySpec(
                    name="sum_control",
                    shape=("control",),
                    meaning="sum of the control voxels over the images",
                ),
            ),
            at_site=self.send_mean,
            at_coordinator=self.take_mean,
            bounds=self.bounds_of_mean,
        )
        return (mask, mean, self._patterns())

    def _patterns(self) -> Step:
        if self.by == "gram":
            return Sum(
                name="gram",
                arrays=(
                    ArraySpec(
                        name="gram",
                        shape=("control", "control"),
                        meaning="products of control voxels, summed over images",
                    ),
                ),
                at_site=self.send_gram,
                at_coordinator=self.take_gram,
                bounds=self.bounds_of_gram,
            )
        product = Sum(
            name="subspace",
            arrays=(
                ArraySpec(
                    name="product",
                    shape=("control", self.components + OVERSAMPLE),
                    meaning="products of control voxels with a few directions, summed over images",
                ),
            ),
            at_site=self.send_product,
            at_coordinator=self.take_product,
            bounds=self.bounds_of_product,
        )
        return Repeat(
            name="iterations", steps=(product,), at_most=self.iterations, until=self.settled
        )

    def send_csf(self, site: Site, shared: Arrays) -> Arrays:
        """Count, voxel by voxel, in how many images it is CSF."""
        places = shared["voxels"]
        if self.mask:
            named = site.data.named_mask(self.mask).ravel()[places]
            count = np.int32(len(site.data))
            n = np.asarray(len(site.data), dtype=np.int64)
            return {"images": n, "csf": named.astype(np.int32) * count}
        found = np.zeros(len(places), dtype=np.int32)
        csf = order_of(self.units.contrast).index("csf")
        for image in site.data.each():
            classes = np.full(image.data.shape, 255, dtype=np.uint8)
            classes[image.mask] = segment(image.brain)
            found += classes.ravel()[places] == csf
        return {"images": np.asarray(len(site.data), dtype=np.int64), "csf": found}

    def take_csf(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Places of the control voxels in the flattened grid."""
        n = float(sums["images"])
        found = np.flatnonzero(sums["csf"] >= max(1, int(np.floor(self.share * n))))
        fewest = self.components + (OVERSAMPLE if self.by == "subspace" else 1)
        if min(len(found), self.at_most) < fewest:
            raise DesignError(
                f"There are {min(len(found), self.at_most)} control voxels (cerebrospinal fluid in "
                f"{self.share:.0%} of the people); {self.components} patterns need {fewest}.",
                do="Lower params.control_share, or check that the images are registered.",
            )
        if len(found) > self.at_most:
            spaced = np.linspace(0, len(found) - 1, self.at_most)
            found = found[np.rint(spaced).astype(np.intp)]
        return {"control": np.asarray(shared["voxels"])[found]}

    def _own(self, images: Images, shared: Arrays) -> Float:
        """Control voxels of a site's people, (n, c), centred where asked."""
        values = self.units.voxels(images, shared["control"]).block(slice(None))
        return np.asarray(values - shared["control_mean"] if self.center else values)

    def send_mean(self, site: Site, shared: Arrays) -> Arrays:
        """Sum of the control voxels."""
        values = self.units.voxels(site.data, shared["control"]).block(slice(None))
        n = np.asarray(len(values), dtype=np.int64)
        return {"images": n, "sum_control": values.sum(axis=0)}

    def bounds_of_mean(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's sum exceeds."""
        return {"sum_control": size.rows * self.units.largest(size)}

    def _largest(self, size: Magnitudes, shared: Arrays) -> Float:
        """What no control voxel exceeds, (c,), centred where asked."""
        mean = np.abs(shared["control_mean"]) * float(self.center)
        return np.asarray(self.units.largest(size) + mean)

    def take_mean(self, sums: Arrays, shared: Arrays) -> Arrays:
        """Their mean, and the first directions of an iteration."""
        k = self.components + OVERSAMPLE
        start = draw(0, "directions of control voxels", "").standard_normal(
            (len(shared["control"]), k)
        )
        first = {} if self.by == "gram" else {"directions": np.linalg.qr(start)[0]}
        return {"control_mean": sums["sum_control"] / sums["images"], **first}

    def send_gram(self, site: Site, shared: Arrays) -> Arrays:
        """``Vc_s Vc_s'``."""
        own = self._own(site.data, shared)
        return {"gram": own.T @ own}

    def bounds_of_gram(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's products exceed."""
        largest = self._largest(size, shared)
        return {"gram": size.rows * largest[:, None] * largest}

    def take_gram(self, sums: Arrays, shared: Arrays) -> Arrays:
        """U and S of the leading components."""
        values, vectors = np.linalg.eigh(sums["gram"])
        k = self.components
        return self._basis(vectors[:, ::-1][:, :k], np.sqrt(np.maximum(values[::-1][:k], 0.0)))

    def send_product(self, site: Site, shared: Arrays) -> Arrays:
        """``Vc_s (Vc_s' Q)``."""
        own = self._own(site.data, shared)
        return {"product": own.T @ (own @ shared["directions"])}

    def bounds_of_product(self, size: Magnitudes, shared: Arrays) -> Bounds:
        """What no site's products exceed: directions have length 1."""
        largest = self._largest(size, shared)
        return {"product": size.rows * largest[:, None] * float(np.linalg.norm(largest))}

    def bounds_of_scores(self) -> Float:
        """What no score of a person of the fit exceeds, (k,).

        Everybody's scores of one pattern are a vector of length 1; rounding has room.
        """
        return np.full(self.components, 2.0)

    def take_product(self, sums: Arrays, shared: Arrays) -> Arrays:
        """The next directions; U and S; how far the wanted ones moved."""
        product, k = sums["product"], self.components
        # Rayleigh and Ritz: Q' G Q of the directions that were asked about.
        small = shared["directions"].T @ product
        values, turned = np.linalg.eigh((small + small.T) / 2)
        found = (shared["directions"] @ turned)[:, ::-1][:, :k]
        before = shared.get("control_u")
        moved = 1.0 if before is None else _apart(np.asarray(before), found)
        basis = self._basis(found, np.sqrt(np.maximum(values[::-1][:k], 0.0)))
        return {
            **basis,
            "directions": np.linalg.qr(product)[0],
            "moved": np.asarray(moved),
        }

    def settled(self, shared: Arrays) -> bool:
        """Whether the iteration has come to rest."""
        return float(shared["moved"]) < self.tolerance

    def _basis(self, vectors: Float, values: Float) -> dict[str, Float]:
        # The root of an eigenvalue that is rounding is 1e-8 of the largest.
        if not values[-1] > 1e-7 * max(float(values[0]), 1e-300):
            raise DesignError(
                f"The control voxels do not have {self.components} patterns of their own.",
                do="Lower params.components.",
            )
        signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
        return {"control_u": vectors * signs, "control_s": values}

    def scores(self, images: Images, shared: Arrays) -> Float:
        """Scores of these people, (n, k): ``Vc' U / S``.

        Raises
        ------
        DesignError
            When the iteration that was to find U did not come to rest.
        """
        if float(shared.get("moved", 0.0)) > UNSETTLED:
            raise DesignError(
                "The subspace iteration did not settle: the patterns of the control voxels are "
                "too alike in size.",
                do="Ask for by: gram, or for fewer components.",
            )
        basis = shared["control_u"] / shared["control_s"]
        # One person at a time: beside others, the last bits of a product would be others'.
        return np.stack([own @ basis for own in self._own(images, shared)])


def _apart(one: Float, other: Float) -> float:
    """How far apart two subspaces are: the norm of what of one lies outside of the other."""
    return float(np.linalg.norm(other - one @ (one.T @ other)))

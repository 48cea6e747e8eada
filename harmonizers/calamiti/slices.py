"""What the networks see of a site: slices of its people, their anatomy and their contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from motet.harmonizers._images.numbers import Int, batch_numbers, label_order, parts
from motet.harmonizers._images.white_stripe import white_matter_mode
from motet.harmonizers.calamiti.params import CalamitiParams
from motet.harmonizers.calamiti.sizes import WHITE
from motet.harmonizers.calamiti.vgg import weights_of
from motet.images.cache import SliceCache, brain_box, slice_cache, slices_home
from motet.images.images import Image, Images
from motet.images.slices import PLANES, Plane, Slicing
from motet.releases import Arrays
from motet.site import Site

if TYPE_CHECKING:
    from motet.training.samples import Samples

LEAST = 0.02
"""Share of a slice that is brain, at least."""


def level(image: Image, contrast: str) -> float:
    """The intensity that becomes 1 in what networks see: white matter lies at 0.25."""
    return white_matter_mode(image, contrast) / WHITE


def seen_of(image: Image, contrast: str) -> NDArray[np.float64]:
    """The box around the brain as networks see it, (x, y, z); 0 beside the brain."""
    box = brain_box(image)
    return np.where(image.mask[box], image.data[box] / level(image, contrast), 0.0)


def cached(site: Site, params: CalamitiParams) -> SliceCache:
    """The slices of a site's people, made once."""
    images: Images = site.data
    return slice_cache(
        images,
        slices_home(site),
        planes=params.planes,
        size=params.pixels,
        level=level,
        named="white matter at 0.25",
        least=max(1, round(LEAST * params.pixels**2)),
    )


@dataclass(frozen=True, kw_only=True)
class Middle:
    """Slices in the middle of each image: where its contrast is seen best.

    Attributes
    ----------
    first, count : (rows,) int
        Of every image: its first such slice in the cache, and how many follow.
    """

    first: Int
    count: Int


def largest(area: NDArray[np.integer]) -> tuple[int, int]:
    """The first and the last slice that shows half as much brain as the largest."""
    found = np.flatnonzero(area >= 0.5 * area.max())
    return int(found[0]), int(found[-1])


def best_plane(params: CalamitiParams) -> Plane:
    """Across which slices tell of the contrast: axial, or the first there is."""
    return "axial" if "axial" in params.planes else params.planes[0]


def most_brain(
    seen: NDArray[np.float64], inside: NDArray[np.bool_], params: CalamitiParams
) -> NDArray[np.float64]:
    """Slices of a volume that show half as much brain as its largest, (n, pixels, pixels)."""
    slicing = Slicing(shape=seen.shape, plane=best_plane(params), size=params.pixels)
    area = np.array([part.sum() for part in slicing.slices(inside.astype(np.int64))])
    first, last = largest(area)
    return np.stack([slicing.slice(seen, k) for k in range(first, last + 1)])


def middle(cache: SliceCache, rows: int) -> Middle:
    """Axial slices from the first to the last that shows half as much brain as the largest.

    The paper takes axial slices 100 to 139 of 288, which knows the template; this knows the brain.
    Of images that were not cut across the axial plane, those of the first plane there is.
    """
    first, count = np.zeros(rows, dtype=np.intp), np.zeros(rows, dtype=np.intp)
    area = cache.brain.sum(axis=(1, 2), dtype=np.int64)
    for row in range(rows):
        own = np.flatnonzero(cache.row == row)
        axial = own[cache.plane[own] == PLANES.index("axial")]
        own = axial if len(axial) else own[cache.plane[own] == cache.plane[own[0]]]
        a, b = largest(area[own])
        first[row], count[row] = own[a], b - a + 1
    return Middle(first=first, count=count)


def samples(site: Site, params: CalamitiParams, shared: Arrays) -> Samples:
    """Every slice of the site's people, and others of the same image drawn beside it."""
    from motet.training.samples import Drawn, Samples

    images: Images = site.data
    cache = cached(site, params)
    row = cache.row.astype(np.intp)
    where, batch = middle(cache, len(images)), batch_numbers(images, site.schema)
    label = np.argsort(label_order(site.schema))[batch]
    return Samples(
        arrays={"x": cache.x, "brain": cache.brain, "label": label[row].astype(np.int64)},
        drawn={"other": Drawn(array=cache.x, first=where.first[row], count=where.count[row])},
        constants={"cumulated": shared["cumulated"], **weights_of(site, params)},
        people=images.people[row],
        parts=parts(cache, images),
        batch=batch[row],
    )

"""What the networks see of a site: slices of its people, each with its two neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motet.bids.checks import Place
from motet.harmonizers._images.numbers import Int, batch_numbers, label_order, parts
from motet.harmonizers.murd.params import MurdParams
from motet.images.cache import SliceCache, slice_cache, slices_home
from motet.images.images import Image, Images, Scan
from motet.schema import Schema
from motet.site import Site

if TYPE_CHECKING:
    from motet.training.samples import Samples

SHARE = 0.995
"""The quantile of a brain that becomes 1 before slices are brought to what networks see."""
TOP = 0.8
"""Where networks see it; 0 is at -1, and what is brighter than 1 is beyond the reach of tanh."""
LEAST = 0.02
"""Share of a slice that is brain, at least."""


def level(image: Image, contrast: str = "") -> float:
    """The intensity that becomes 1: a high quantile of the brain, which no single voxel moves.

    Raises
    ------
    DataError
        When it is not above 0.
    """
    found = float(np.quantile(image.brain, SHARE))
    if not found > 0.0:
        raise Place(file=image.volume.file).error(
            "Nearly all of the brain has intensities of 0 or less.",
            do="Look at the image and its mask.",
        )
    return found


def check_mask(scan: Scan, place: Place, person: str) -> None:
    """Refuse an image without a brain mask: what networks see is the brain alone.

    Raises
    ------
    DataError
    """
    if scan.mask is None:
        raise place.error(
            "There is no brain mask beside the image, and MURD sees brains alone.",
            do="Put one there: the image's name with desc-brain_mask in the place of its suffix.",
            person=person,
        )


def cached(site: Site, params: MurdParams) -> SliceCache:
    """The slices of a site's people, made once.

    Raises
    ------
    DataError
        Names the person without a mask, or whose brain does not fit.
    """
    images: Images = site.data
    for row in range(len(images)):
        scan = images.scan(row)
        check_mask(scan, Place(site=images.site, file=scan.found.file), images.who(row))
    return slice_cache(
        images,
        slices_home(site),
        planes=params.planes,
        size=params.pixels,
        level=level,
        named=f"quantile {SHARE} of the brain at 1",
        least=max(1, round(LEAST * params.pixels**2)),
    )


def between(cache: SliceCache) -> Int:
    """Slices whose two neighbours are in the cache, too."""
    key = np.stack([cache.row, cache.plane, cache.index])
    step = np.diff(key, axis=1)
    after = (step == np.array([[0], [0], [1]])).all(axis=0)
    return np.flatnonzero(after[:-1] & after[1:]) + 1


def samples(site: Site, params: MurdParams, schema: Schema) -> Samples:
    """Every slice with two neighbours, of the site's people.

    ``x-1``, ``x0``, ``x+1`` are the three slices, ``b-1``, … where their brain is.
    """
    from motet.training.samples import Drawn, Samples

    images: Images = site.data
    cache = cached(site, params)
    middle = between(cache)
    batch = batch_numbers(images, schema)[cache.row[middle]]
    one = np.ones(len(middle), dtype=np.intp)
    drawn = {}
    for by in (-1, 0, 1):
        # "Drawn" of one: no slice is held three times.
        said = f"{by:+d}" if by else "0"
        drawn[f"x{said}"] = Drawn(array=cache.x, first=middle + by, count=one)
        drawn[f"b{said}"] = Drawn(array=cache.brain, first=middle + by, count=one)
    return Samples(
        arrays={"label": batch.astype(np.int64)},
        drawn=drawn,
        constants={"order": label_order(schema).astype(np.int64)},
        people=images.people[cache.row[middle]],
        parts=parts(cache, images)[middle],
        batch=batch,
    )
